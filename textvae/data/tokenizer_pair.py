"""The two tokenizers of a model: the decoder's and, where it has its own, the encoder's.

In a directory the decoder's is at the top, where `AutoTokenizer` finds it, and the encoder's in `encoder_tokenizer/`.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import snapshot_download
from transformers import PreTrainedTokenizerBase

from textvae.data.special_tokens import EOS
from textvae.data.tokenization import MAX_LENGTH, check_vocabulary, load_tokenizer, open_tokenizer
from textvae.files import whole_files

logger = logging.getLogger(__name__)

ENCODER_TOKENIZER = "encoder_tokenizer"
_PROBES = ["a", "Hello, World! 12 x", "  Où ça ?\n日本 🎈", "<s> </s> <unk>"]


class TokenizerPair(NamedTuple):
    """The tokenizers of a model.

    Attributes:
        decoder: makes the tokens that the decoder writes.
        encoder: makes the tokens that the encoder reads; None if it reads what the decoder writes.
    """

    decoder: PreTrainedTokenizerBase
    encoder: PreTrainedTokenizerBase | None = None

    @property
    def reading(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the encoder, whether or not it is the decoder's."""
        return self.decoder if self.encoder is None else self.encoder

    @property
    def max_length(self) -> int:
        """The longest text in tokens of either side, EOS included; Hugging Face keeps it in the tokenizer."""
        return self.decoder.model_max_length

    @property
    def usual_length(self) -> int:
        """`max_length`, or 64 if nobody has set it: Hugging Face's default is astronomical."""
        return self.max_length if self.max_length < 1e9 else MAX_LENGTH

    def limit(self, max_length: int) -> "TokenizerPair":
        """Set `max_length` in both."""
        self.decoder.model_max_length = self.reading.model_max_length = max_length
        return self


def load_tokenizers(name_or_path: str) -> TokenizerPair:
    """Open the tokenizers of a saved model, by directory or Hub name.

    Raises:
        InputError: if one of them cannot be opened, or has no EOS or padding token.
    """
    decoder = load_tokenizer(name_or_path)
    is_here = Path(name_or_path).is_dir()
    # Not by `subfolder=`, which on the Hub wants a config.json in there.
    root = name_or_path if is_here else snapshot_download(name_or_path, allow_patterns=f"{ENCODER_TOKENIZER}/*")
    folder = Path(root, ENCODER_TOKENIZER)
    return TokenizerPair(decoder, load_tokenizer(str(folder)) if folder.is_dir() else None)


def save_tokenizers(path: str | Path, tokenizers: TokenizerPair) -> None:
    """Write both to a directory, in place of those it held.

    Raises:
        InputError: if it is a file.
        OSError: if it cannot be written; then it is as it was.
    """
    with whole_files(path, instead_of=[ENCODER_TOKENIZER]) as place:
        tokenizers.decoder.save_pretrained(place)
        if tokenizers.encoder is not None:
            tokenizers.encoder.save_pretrained(place / ENCODER_TOKENIZER)


def tokenizers_of_parts(encoder: str | None, decoder: str | PreTrainedTokenizerBase) -> TokenizerPair:
    """The tokenizers of two pretrained models, by name or path; only one if both are the same.

    A tokenizer without an EOS or a padding token is given one, and a log message says so.

    Args:
        encoder: None if the encoder reads what the decoder writes.
        decoder: or the tokenizer itself, if it was made for a new decoder.

    Raises:
        InputError: if one of them cannot be opened, or holds no vocabulary.
    """
    ours = _completed(open_tokenizer(decoder), decoder) if isinstance(decoder, str) else decoder
    if encoder is None:
        return TokenizerPair(ours)
    theirs = _completed(open_tokenizer(encoder), encoder)
    return TokenizerPair(ours) if are_same(ours, theirs) else TokenizerPair(ours, theirs)


def are_same(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers have the same vocabulary, padding and EOS, and read a few probes alike."""
    parts = [(t.get_vocab(), t.pad_token_id, t.eos_token_id, t(_PROBES)["input_ids"]) for t in (one, other)]
    return parts[0] == parts[1]


def _completed(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerBase:
    """Add the EOS and the padding token that are missing.

    Padding may be EOS, because masks, and never ids, tell where a text is padded.
    """
    check_vocabulary(tokenizer, name)
    added = []
    if tokenizer.eos_token is None:
        tokenizer.add_special_tokens({"eos_token": EOS})
        added.append(f"no EOS, and gets {EOS}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        added.append(f"no padding token, and is padded with {tokenizer.eos_token}")
    if added:
        logger.warning("The tokenizer of %s has %s.", name, "; ".join(added))
    return tokenizer

"""The two tokenizers of a model: the decoder's and, only where the encoder reads other tokens, the encoder's.

Everywhere a pair is (the decoder's, the encoder's or None). In a directory the decoder's is at the top, where
`AutoTokenizer` finds it, and the encoder's in `encoder_tokenizer/`.
"""

import logging
import shutil
from pathlib import Path

from huggingface_hub import snapshot_download
from transformers import PreTrainedTokenizerBase

from textvae.data.special_tokens import EOS
from textvae.data.tokenization import check_vocabulary, load_tokenizer, open_tokenizer

logger = logging.getLogger(__name__)

Pair = tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase | None]

ENCODER_TOKENIZER = "encoder_tokenizer"
_PROBES = ["a", "Hello, World! 12 x", "  Où ça ?\n日本 🎈", "<s> </s> <unk>"]


def load_tokenizers(name_or_path: str) -> Pair:
    """The tokenizers of a saved model, by directory or Hub name.

    Raises:
        InputError: if one of them cannot be opened, or has no EOS or padding token.
    """
    tokenizer = load_tokenizer(name_or_path)
    is_here = Path(name_or_path).is_dir()
    # Not by `subfolder=`, which on the Hub wants a config.json in there.
    root = name_or_path if is_here else snapshot_download(name_or_path, allow_patterns=f"{ENCODER_TOKENIZER}/*")
    folder = Path(root, ENCODER_TOKENIZER)
    return tokenizer, load_tokenizer(str(folder)) if folder.is_dir() else None


def save_tokenizers(path: str | Path, tokenizer: PreTrainedTokenizerBase, encoder_tokenizer) -> None:
    """Write the pair to a directory, in place of the one it held."""
    tokenizer.save_pretrained(path)
    shutil.rmtree(Path(path, ENCODER_TOKENIZER), ignore_errors=True)
    if encoder_tokenizer is not None:
        encoder_tokenizer.save_pretrained(Path(path, ENCODER_TOKENIZER))


def tokenizers_of_parts(encoder: str | None, decoder: str | PreTrainedTokenizerBase) -> Pair:
    """The tokenizers of two pretrained models, by name or path; one where both read and write the same.

    What they lack to end and to pad texts is added, and said.

    Args:
        encoder: None where it is to read what the decoder writes.
        decoder: or the tokenizer itself, where it was made for the decoder.

    Raises:
        InputError: if one of them cannot be opened, or knows no word.
    """
    ours = _completed(open_tokenizer(decoder), decoder) if isinstance(decoder, str) else decoder
    if encoder is None:
        return ours, None
    theirs = _completed(open_tokenizer(encoder), encoder)
    return (ours, None) if are_same(ours, theirs) else (ours, theirs)


def are_same(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers have the same vocabulary, the same ends of texts, and give a few probes the same ids."""
    parts = [(t.get_vocab(), t.pad_token_id, t.eos_token_id, t(_PROBES)["input_ids"]) for t in (one, other)]
    return parts[0] == parts[1]


def _completed(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerBase:
    """With an EOS, and something to pad with: EOS again, as masks, and never ids, tell where a text is padded."""
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

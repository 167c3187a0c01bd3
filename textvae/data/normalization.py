"""What a trained tokenizer changes in a text before it cuts it into pieces."""

from typing import Literal

from tokenizers import Regex, normalizers
from transformers import PreTrainedTokenizerBase

Normalization = Literal["nfc", "nfkc", "none"]
NORMALIZATION = "normalization"  # the name under which Hugging Face keeps it in tokenizer_config.json

# Only in NFKC a space is written as "▁", as SentencePiece does, so that a "▁" in a text is a space too.
_NFKC = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"[\s▁]+"), " "), normalizers.Strip()])


def normalize(text: str, how: Normalization = "nfc") -> str:
    """The text as a tokenizer with this normalization reads it.

    `nfc` joins letters with their accents and keeps everything else, every space too. `nfkc` also replaces characters
    by their plain forms ("²" by "2", "ﬁ" by "fi", "，" by ","), every run of whitespace (or "▁") by one space, and
    strips the ends. `none` changes nothing.
    """
    if how == "none":
        return text
    return (_NFKC if how == "nfkc" else normalizers.NFC()).normalize_str(text)


def normalizer_of(how: Normalization) -> normalizers.Normalizer:
    """What a tokenizer does first; outside NFKC it puts a space before a text, as before every other word."""
    if how == "nfkc":
        return _NFKC
    return normalizers.Sequence([*([normalizers.NFC()] if how == "nfc" else []), normalizers.Prepend(" ")])


def normalization_of(tokenizer: PreTrainedTokenizerBase) -> Normalization:
    """That of a tokenizer that textvae trained; older versions had only NFKC."""
    return tokenizer.init_kwargs.get(NORMALIZATION, "nfkc")

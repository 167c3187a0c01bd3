"""How well a tokenizer covers a corpus."""

import re
from collections.abc import Iterable, Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from textvae.data.special_tokens import UNK, special_tokens
from textvae.data.words import word_count

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # how a tokenizer with byte fallback writes a byte
_MANY_BYTES, _MUCH_UNKNOWN = 0.05, 0.02  # shares of the tokens from which on coverage is bad


def count_unknown(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], input_ids: Iterable[Sequence[int]]) -> int:
    """Count the unknown tokens, without those that a text spells out: a literal `<unk>`, as in Penn Treebank, is known.

    Args:
        texts: as they are written.
        input_ids: their token ids. If a text was cut, a literal `<unk>` after the cut may hide an unknown token.
    """
    token, tokens = _unknown_token(tokenizer), special_tokens(tokenizer)
    unknown = cast("int | None", tokenizer.convert_tokens_to_ids(token))
    if unknown is None or unknown in {tokens.bos_token_id, tokens.eos_token_id}:  # GPT-2's, which knows every byte
        return 0
    pairs = zip(texts, input_ids, strict=True)
    is_a_word = unknown in tokenizer(token, add_special_tokens=False)["input_ids"]
    return sum(max(0, list(ids).count(unknown) - is_a_word * text.count(token)) for text, ids in pairs)


def unknown_sentence(tokenizer: PreTrainedTokenizerBase, num_unknown: int, num_tokens: int) -> str:
    """Tell the user how many tokens of a corpus are unknown."""
    share = 100 * num_unknown / num_tokens
    return (
        f"{num_unknown:,} of {num_tokens:,} tokens ({share:.2f} %) are unknown to the tokenizer and count as "
        f"{_unknown_token(tokenizer)}."
    )


def coverage(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, float]:
    """How well a tokenizer covers texts, BOS and EOS not counted.

    Returns:
        `tokens_per_word` (see [`textvae.data.words.word_count`]); `unknown_share` of the tokens (see
        [`count_unknown`]); and `byte_share` of the tokens, if the tokenizer has byte fallback.
    """
    ids = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    num_tokens = max(1, sum(map(len, ids)))
    num_words = max(1, sum(map(word_count, texts)))
    unknown_share = count_unknown(tokenizer, texts, ids) / num_tokens
    values = {"tokens_per_word": num_tokens / num_words, "unknown_share": unknown_share}
    single = {index for token, index in tokenizer.get_vocab().items() if _BYTE.fullmatch(token)}
    if single:
        values["byte_share"] = sum(index in single for row in ids for index in row) / num_tokens
    return values


def coverage_sentence(values: dict[str, float], reader: str, remedy: str) -> str:
    """Tell the user of the [`coverage`] by the tokenizer called `reader`, and of the `remedy` if it is bad."""
    shares = [f"{100 * values['unknown_share']:.1f} % of the tokens are unknown"]
    if "byte_share" in values:
        shares.append(f"{100 * values['byte_share']:.1f} % are single bytes")
    is_bad = values["unknown_share"] > _MUCH_UNKNOWN or values.get("byte_share", 0) > _MANY_BYTES
    said = f"{reader} makes {values['tokens_per_word']:.2f} tokens of a word of this corpus; {', '.join(shares)}"
    return f"{said}: {remedy}." if is_bad else f"{said}."


def _unknown_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """`<unk>` if the tokenizer names none, as a word tokenizer, whose `<unk>` is an ordinary word."""
    return special_tokens(tokenizer).unk_token or UNK

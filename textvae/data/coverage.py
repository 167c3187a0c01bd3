"""How well a tokenizer covers a corpus."""

import re
from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from textvae.data.special_tokens import UNK
from textvae.data.words import separate_words

# How a tokenizer with byte fallback writes a byte, and from what share on of the tokens that is too often.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


_MANY_BYTES = 0.05


_MUCH_UNKNOWN = 0.02


def count_unknown(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], input_ids: Iterable[Sequence[int]]) -> int:
    """How many tokens became unknown without being written so: a literal `<unk>`, as in Penn Treebank, is known.

    Args:
        texts: as they are written.
        input_ids: what the tokenizer made of each. Where that was cut, a `<unk>` written behind the cut may hide an
            unknown token before it.
    """
    token = _unknown_token(tokenizer)
    unknown = tokenizer.convert_tokens_to_ids(token)
    if unknown in {None, tokenizer.bos_token_id, tokenizer.eos_token_id}:  # GPT-2's, which knows every byte
        return 0
    pairs = zip(texts, input_ids, strict=True)
    return sum(max(0, list(ids).count(unknown) - text.count(token)) for text, ids in pairs)


def unknown_sentence(tokenizer: PreTrainedTokenizerBase, num_unknown: int, num_tokens: int) -> str:
    """What a user is told of `num_unknown` of the `num_tokens` tokens of a corpus."""
    share = 100 * num_unknown / num_tokens
    return (
        f"{num_unknown:,} of {num_tokens:,} tokens ({share:.2f} %) are unknown to the tokenizer and count as "
        f"{_unknown_token(tokenizer)}."
    )


def coverage(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, float]:
    """How well a tokenizer fits texts, by what it makes of them without the tokens that it puts at their ends.

    Returns:
        `tokens_per_word`, words being what stands between whitespace, or one character of a script without spaces;
        `unknown_share` of the tokens, as [`count_unknown`] counts; and `byte_share`, if it writes in single bytes what
        it has no piece for.
    """
    ids = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    num_tokens = max(1, sum(map(len, ids)))
    num_words = max(1, sum(len(separate_words(text).split()) for text in texts))
    values = {"tokens_per_word": num_tokens / num_words,
              "unknown_share": count_unknown(tokenizer, texts, ids) / num_tokens}  # fmt: skip
    single = {index for token, index in tokenizer.get_vocab().items() if _BYTE.fullmatch(token)}
    if single:
        values["byte_share"] = sum(index in single for row in ids for index in row) / num_tokens
    return values


def coverage_sentence(values: dict[str, float], reader: str, remedy: str) -> str:
    """What a user is told of the [`coverage`] by the tokenizer called `reader`; of `remedy` only where it is bad."""
    shares = [f"{100 * values['unknown_share']:.1f} % of the tokens are unknown"]
    if "byte_share" in values:
        shares.append(f"{100 * values['byte_share']:.1f} % are single bytes")
    is_bad = values["unknown_share"] > _MUCH_UNKNOWN or values.get("byte_share", 0) > _MANY_BYTES
    said = f"{reader} makes {values['tokens_per_word']:.2f} tokens of a word of this corpus; {', '.join(shares)}"
    return f"{said}: {remedy}." if is_bad else f"{said}."


def _unknown_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """A word tokenizer names none, as its `<unk>` is a word like others."""
    return tokenizer.unk_token or UNK

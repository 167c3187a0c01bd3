"""What counts as a word."""

import re
import unicodedata
from collections.abc import Sequence

from textvae.data.normalization import normalize

# Thai, Lao, Myanmar, Khmer; kana, bopomofo; Han.
_WITHOUT_SPACES = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)


def separate_words(text: str) -> str:
    """The text with spaces around each character of a script without spaces, so that each counts as a word."""
    return _WITHOUT_SPACES.sub(r" \1 ", text)


def word_count(text: str) -> int:
    """Number of words between whitespace; in a script without spaces, such as Chinese, every character is a word.

    A per-word perplexity counts one EOS more for each text.
    """
    return len(separate_words(text).split())


def bare_words(text: str) -> tuple[str, ...]:
    """The words of a text without what makes no other text of it: case, spaces, and punctuation around a word."""
    words = map(_bare, separate_words(normalize(text, "nfkc").casefold()).split())
    return tuple(word for word in words if word)


def exact_words(text: str) -> tuple[str, ...]:
    """The words of a text in which every character counts, as in a chemical formula or a program."""
    return tuple(separate_words(text).split())


def _bare(word: str) -> str:
    inside = [place for place, character in enumerate(word) if unicodedata.category(character)[0] != "P"]
    return word[inside[0] : inside[-1] + 1] if inside else ""


def shared_words(words: Sequence[str], others: Sequence[str]) -> float:
    """The share of common words among all different words of two texts, from 0 to 1 (Jaccard 1912)."""
    either = {*words, *others}
    return len({*words} & {*others}) / len(either) if either else 1.0


def word_distance(words: Sequence[str], others: Sequence[str]) -> int:
    """The least number of words to insert, delete or replace to turn one text into another (Levenshtein 1966)."""
    row = list(range(len(others) + 1))
    for number, word in enumerate(words, 1):
        above, row = row, [number]
        for place, other in enumerate(others):
            row.append(min(above[place] + (word != other), above[place + 1] + 1, row[-1] + 1))
    return row[-1]

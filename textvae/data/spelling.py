"""Spellings that are one typing error apart."""

from collections.abc import Iterable
from os.path import commonprefix


def is_respelled(word: str, other: str) -> bool:
    """Whether a letter added, dropped, changed or swapped with the next makes one of the other; case does not count.

    Of words of one or two letters only the case may differ.
    """
    word, other = word.casefold(), other.casefold()
    if min(len(word), len(other)) < 3:
        return word == other
    start = len(commonprefix([word, other]))
    word, other = word[start:], other[start:]
    end = len(commonprefix([word[::-1], other[::-1]]))
    word, other = word[: len(word) - end], other[: len(other) - end]
    return max(len(word), len(other)) <= 1 or (len(word) == 2 and word == other[::-1])


class Spellings:
    """Known words, found by a spelling of them: both are alike when each has lost at most one letter (SymSpell)."""

    def __init__(self, words: Iterable[str]):
        self.known: dict[str, list[str]] = {}
        for word in words:
            for variant in _variants(word):
                self.known.setdefault(variant, []).append(word)

    def of(self, word: str) -> list[str]:
        """The known words that are this one, respelled or not, sorted."""
        near = {known for variant in _variants(word) for known in self.known.get(variant, [])}
        return sorted(known for known in near if is_respelled(known, word))


def _variants(word: str) -> set[str]:
    word = word.casefold()
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}

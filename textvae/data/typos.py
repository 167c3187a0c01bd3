"""Typing errors: what a hurried typist does to the letters of a text."""

import re

import numpy as np

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # of the keyboard; each row is half a key to the right of that above
_WORD = re.compile(r"\S+")


def _neighbours() -> dict[str, str]:
    """The letters beside each letter: in its row, and the two that touch it in the rows above and below."""
    found = {}
    for number, row in enumerate(_ROWS):
        above = _ROWS[number - 1] if number else ""
        below = _ROWS[number + 1] if number + 1 < len(_ROWS) else ""
        for place, letter in enumerate(row):
            beside = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
            found[letter] = beside + above[place : place + 2] + below[max(0, place - 1) : place + 1]
    return found


NEIGHBOURS = _neighbours()


def add_typos(texts: list[str], share: float, generator: np.random.Generator) -> list[str]:
    """The texts with one typing error in each word with probability `share`.

    A word is what stands between spaces. The error is at a random letter: it is dropped (but not the only character of
    a word), doubled, swapped with what follows, or replaced by a neighbour on the keyboard (QWERTY; a letter that this
    has not is never replaced). Digits, punctuation and spaces have no errors of their own.
    """
    words = [list(_WORD.finditer(text)) for text in texts]
    hit = iter(generator.random(sum(map(len, words))) < share)
    return [
        _replaced(text, [one for one in own if next(hit)], generator) for text, own in zip(texts, words, strict=True)
    ]


def _replaced(text: str, words: list[re.Match], generator: np.random.Generator) -> str:
    """The text with an error in each of these words."""
    parts, end = [], 0
    for word in words:
        parts += [text[end : word.start()], mistyped(word.group(), generator)]
        end = word.end()
    return "".join([*parts, text[end:]])


def mistyped(word: str, generator: np.random.Generator) -> str:
    """Another spelling of a word, with one typing error; the word itself if it has no letter."""
    letters = [place for place, character in enumerate(word) if character.isalpha()]
    if not letters:
        return word
    place = letters[int(generator.integers(len(letters)))]
    before, letter, after = word[:place], word[place], word[place + 1 :]
    errors = [before + letter + letter + after]
    if len(word) > 1:
        errors.append(before + after)
    if after and after[0] != letter:
        errors.append(before + after[0] + letter + after[1:])
    if near := NEIGHBOURS.get(letter.lower()):
        other = near[int(generator.integers(len(near)))]
        errors.append(before + (other.upper() if letter.isupper() else other) + after)
    return errors[int(generator.integers(len(errors)))]

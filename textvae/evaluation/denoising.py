"""Denoising, measured: noise on words, how much of the text is right again.

N texts
"""

from collections.abc import Sequence

import numpy as np

from textvae.data.gaps import GAP
from textvae.data.typos import add_typos
from textvae.data.words import separate_words, word_distance
from textvae.errors import InputError
from textvae.evaluation.metrics import corpus_bleu


def measure_denoising(written: Sequence[str], clean: Sequence[str]) -> dict[str, float]:
    """How near N texts are to the clean ones.

    Returns:
        `word_accuracy`: 1 − word edits / words of the clean texts, of all texts together; negative if there are more
        edits than words. Words stand between spaces, with their case and punctuation. `bleu`, 0 to 100, and `exact`,
        the share of texts that are right.

    Raises:
        InputError: if the two differ in number or are empty.
    """
    if len(written) != len(clean) or not clean:
        raise InputError(f"There are {len(written)} texts for {len(clean)} clean ones: give one for each.")
    pairs = [
        (separate_words(one).split(), separate_words(other).split()) for one, other in zip(written, clean, strict=True)
    ]
    edits, words = sum(word_distance(*pair) for pair in pairs), sum(len(other) for _, other in pairs)
    exact = sum(one == other for one, other in pairs) / len(pairs)
    return {"word_accuracy": 1 - edits / words, "bleu": corpus_bleu(written, clean), "exact": exact}


def make_noisy(
    texts: Sequence[str], kind: str, share: float, words: Sequence[str], generator: np.random.Generator
) -> list[str]:
    """The texts with this share of their words dropped, masked (`___`), substituted, shuffled or mistyped.

    One space stands between words.

    Args:
        kind: one of `NOISES`.
        words: those that substitutes are drawn from.
    """
    return [" ".join(NOISES[kind](text.split(), share, words, generator)) for text in texts]


def _drop(text: list[str], share: float, words: Sequence[str], generator: np.random.Generator) -> list[str]:
    kept = [word for word in text if generator.random() >= share]
    return kept or text[:1]


def _mask(text: list[str], share: float, words: Sequence[str], generator: np.random.Generator) -> list[str]:
    return [GAP if generator.random() < share else word for word in text]


def _substitute(text: list[str], share: float, words: Sequence[str], generator: np.random.Generator) -> list[str]:
    return [words[int(generator.integers(len(words)))] if generator.random() < share else word for word in text]


def _shuffle(text: list[str], share: float, words: Sequence[str], generator: np.random.Generator) -> list[str]:
    """Some words change places with the next one, so that this share of all words moves."""
    moved, place = list(text), 0
    while place + 1 < len(moved):
        if generator.random() < share / (2 - share):  # a pair is passed over at once, any other word alone
            moved[place : place + 2] = moved[place : place + 2][::-1]
            place += 1
        place += 1
    return moved


def _mistype(text: list[str], share: float, words: Sequence[str], generator: np.random.Generator) -> list[str]:
    return add_typos(text, share, generator)


NOISES = {"drop": _drop, "mask": _mask, "substitute": _substitute, "shuffle": _shuffle, "typos": _mistype}

"""Typing errors: how many, of which kinds, and what they never touch."""

import numpy as np
import pytest

from textvae.data.spelling import Spellings, is_respelled
from textvae.data.typos import NEIGHBOURS, add_typos, mistyped

TEXTS = ["The quick  brown fox, 42 of them!", "jumps over\tthe lazy dog.", "", "Été à 日本 🎈 a"] * 50


def typos(share, seed=0):
    return add_typos(TEXTS, share, np.random.default_rng(seed))


def test_none_and_all():
    assert typos(0) == TEXTS
    pairs = [
        pair for text, new in zip(TEXTS, typos(1), strict=True) for pair in zip(text.split(), new.split(), strict=True)
    ]
    assert {word for word, new in pairs if word == new} == {"42", "🎈"}  # which have no letters
    assert all(abs(len(word) - len(new)) <= 1 for word, new in pairs)


def test_the_share_is_that_of_words_and_a_seed_decides():
    words = [
        pair
        for text, new in zip(TEXTS, typos(0.3), strict=True)
        for pair in zip(text.split(), new.split(), strict=True)
    ]
    assert np.mean([a != b for a, b in words if a.isalpha()]) == pytest.approx(0.3, abs=0.05)
    assert typos(0.3) == typos(0.3) != typos(0.3, seed=1)


def test_every_kind_of_error_occurs_and_each_is_one_typing_error():
    found = {mistyped("Hat", np.random.default_rng(seed)) for seed in range(2000)}
    dropped, doubled, swapped = {"at", "Ht", "Ha"}, {"HHat", "Haat", "Hatt"}, {"aHt", "Hta"}
    keys = {
        *(f"{key.upper()}at" for key in NEIGHBOURS["h"]),
        *(f"H{key}t" for key in NEIGHBOURS["a"]),
        *(f"Ha{key}" for key in NEIGHBOURS["t"]),
    }
    assert found == dropped | doubled | swapped | keys
    assert all(is_respelled("word", mistyped("word", np.random.default_rng(seed))) for seed in range(200))


def test_neighbours_are_mutual_and_those_of_the_keyboard():
    assert set(NEIGHBOURS["s"]) == set("adwezx") and set(NEIGHBOURS["p"]) == set("ol") and len(NEIGHBOURS) == 26
    assert all(letter in NEIGHBOURS[near] for letter, others in NEIGHBOURS.items() for near in others)


@pytest.mark.parametrize(
    ("word", "other", "expected"),
    [
        *(("word", other, True) for other in ("word", "Word", "wrod", "wor", "words", "wird", "wword")),
        *(("word", other, False) for other in ("sword2", "drow", "wd", "wired")),
        *(("it", other, False) for other in ("is", "i", "its")),
        ("it", "It", True),
    ],
)
def test_one_error_apart(word, other, expected):
    assert is_respelled(word, other) == is_respelled(other, word) == expected


def test_spellings_finds_what_comparing_all_finds():
    words = ["have", "hive", "heave", "hat", "Have", "a", "A", "an", "shave", "ahve"]
    known = Spellings(words)
    for asked in [*words, "hvae", "hav", "zzz", ""]:
        assert known.of(asked) == sorted(word for word in words if is_respelled(word, asked))

"""The measure of denoising: its values by hand, the noise that it makes, and the ways without a model."""

import numpy as np
import pytest

from textvae.data.edit_costs import COSTS
from textvae.errors import InputError
from textvae.evaluation.denoising import NOISES, make_noisy, measure_denoising
from textvae.evaluation.spelling_corrector import SpellingCorrector
from textvae.evaluation.trigram_cleaner import TrigramCleaner
from textvae.evaluation.trigrams import Trigrams

CLEAN = ["I like the big cat .", "we like the small dog .", "where is the big dog ?", "the cat is small ."]


def noisy(kind, share=0.3, texts=CLEAN * 100, seed=0):
    return make_noisy(texts, kind, share, ["xx", "yy"], np.random.default_rng(seed))


def test_word_accuracy_by_hand():
    same = measure_denoising(CLEAN, CLEAN)
    assert same == {"word_accuracy": 1, "bleu": pytest.approx(100), "exact": 1}
    one = measure_denoising(["a b c d", "a x"], ["a b c d", "a b c d"])
    assert one["word_accuracy"] == pytest.approx(1 - 3 / 8) and one["exact"] == 0.5
    assert measure_denoising(["a b c"], ["d"])["word_accuracy"] == -2
    assert measure_denoising(["日本語"], ["日本人"])["word_accuracy"] == pytest.approx(2 / 3)
    for pair in (([], []), (["a"], ["a", "b"])):
        with pytest.raises(InputError, match="one for each"):
            measure_denoising(*pair)


@pytest.mark.parametrize("kind", NOISES)
def test_noise_hits_the_share_of_words_and_a_seed_decides(kind):
    assert noisy(kind, 0) == CLEAN * 100
    assert noisy(kind) == noisy(kind) != noisy(kind, seed=1)
    pairs = [(clean.split(), new.split()) for clean, new in zip(CLEAN * 100, noisy(kind), strict=True)]
    words = sum(len(clean) for clean, _ in pairs)
    if kind == "drop":
        hit = words - sum(len(new) for _, new in pairs)
    else:
        hit = sum(a != b for clean, new in pairs for a, b in zip(clean, new, strict=True))
    assert hit / words == pytest.approx(0.3 if kind != "typos" else 0.3 * 19 / 23, abs=0.06)  # none in punctuation
    if kind == "shuffle":
        assert all(sorted(clean) == sorted(new) for clean, new in pairs)
    if kind == "mask":
        assert {b for clean, new in pairs for a, b in zip(clean, new, strict=True) if a != b} == {"___"}


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("I like the bgi cat .", "I like the big cat ."),
        ("I like ___ big cat .", "I like the big cat ."),
        ("I like big the cat .", "I like the big cat ."),
        ("I like the big cat .", "I like the big cat ."),
        ("we like the where dog .", "we like the small dog ."),
    ],
)
def test_trigrams_repair_what_they_know(text, repaired):
    assert TrigramCleaner(Trigrams(CLEAN * 1000), COSTS.times(0.5)).clean(text) == repaired


def test_dear_repairs_are_not_made():
    cleaner = TrigramCleaner(Trigrams(CLEAN), COSTS.times(100))
    assert cleaner.clean("cat big the") == "cat big the"
    assert cleaner.clean("___") in cleaner.trigrams.counts[()]


@pytest.mark.slow
def test_the_spelling_corrector_keeps_case_and_punctuation():
    pytest.importorskip("symspellpy")
    corrector = SpellingCorrector()
    assert corrector.correct("Teh musci, 42 TEH days!") == "The music, 42 THE days!"


def test_without_symspellpy_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install"):
        SpellingCorrector()

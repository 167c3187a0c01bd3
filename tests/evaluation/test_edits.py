"""The measure of edits: what a perfect edit gets, and none; the two ways without a model; what is refused."""

import itertools

import pytest
import torch
from tiny_runs import save_decoder, save_encoder

from textvae.errors import InputError
from textvae.evaluation.edits import AttributeClassifier, NearestSentence, WordList, measure_edits
from textvae.evaluation.judges import Judges, LanguageModel, SentenceEncoder

CPU = torch.device("cpu")
THINGS = ["food", "place", "staff", "service", "pizza", "garden"]
ADJECTIVES = {"bad": ["awful", "rude", "cold"], "good": ["great", "friendly", "warm"]}
TEXTS, LABELS = zip(
    *((f"the {thing} was {word} .", label) for thing in THINGS for label in ADJECTIVES for word in ADJECTIVES[label]),
    strict=True,
)
TARGETS = ["bad" if label == "good" else "good" for label in LABELS]


@pytest.fixture(scope="module")
def classifier():
    return AttributeClassifier(TEXTS, LABELS)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return SentenceEncoder(save_encoder(tmp_path_factory.mktemp("encoder")), CPU)


def test_a_perfect_edit_flips_all_and_none_flips_nothing(classifier, encoder, tmp_path):
    judges = Judges(LanguageModel(save_decoder(tmp_path), CPU), encoder)
    none = measure_edits(TEXTS, TEXTS, TARGETS, classifier, judges)
    assert none["flips"] == 0 and none["bleu"] == pytest.approx(100) and none["similarity"] == pytest.approx(1)
    nats, tokens = judges.language_model.nats(TEXTS)
    assert none["fluency"] == pytest.approx(float(nats.sum() / tokens.sum()))
    edited = [text.replace("was", "was not") for text in TEXTS[:-1]] + ["all great friendly warm"]
    values = measure_edits(TEXTS, edited, TARGETS, classifier, judges)
    assert 0 < values["bleu"] < 100 and values["similarity"] < 1
    assert values["flips"] == classifier.share(edited, TARGETS)
    assert measure_edits(TEXTS, edited, TARGETS, classifier, Judges(None, None)).keys() == {"flips", "bleu"}


def test_a_word_list_swaps_polar_words_and_no_others(classifier, encoder):
    words = WordList(TEXTS, LABELS, encoder, size=3)
    assert {label: set(swaps) for label, swaps in words.swaps.items()} == {
        "good": set(ADJECTIVES["bad"]),
        "bad": set(ADJECTIVES["good"]),
    }
    edited = words.edit(TEXTS, TARGETS)
    assert classifier.share(edited, TARGETS) == 1
    for before, after in itertools.starmap(lambda *pair: map(str.split, pair), zip(TEXTS, edited, strict=True)):
        assert before[:3] + before[4:] == after[:3] + after[4:] and before[3] != after[3]
    bad, good = (encoder.embed(ADJECTIVES[label]) for label in ("bad", "good"))
    nearest = ADJECTIVES["good"][int((bad[0] @ good.T).argmax())]
    assert words.edit(["an awful day"], ["good"]) == [f"an {nearest} day"]
    assert words.edit(["an awful day", "nothing known"], ["bad", "good"]) == ["an awful day", "nothing known"]


def test_the_nearest_sentence_is_one_of_the_other_class():
    edited = NearestSentence(TEXTS, LABELS).edit(TEXTS, TARGETS)
    for before, after, target in zip(TEXTS, edited, TARGETS, strict=True):
        assert (after, target) in set(zip(TEXTS, LABELS, strict=True))
        assert before.split()[:3] == after.split()[:3]


@pytest.mark.parametrize("labels", [["good"] * len(TEXTS), ["a", "b", "c"] * (len(TEXTS) // 3), []])
def test_another_number_of_labels_than_two_is_refused(labels, encoder):
    for way in (AttributeClassifier, NearestSentence, lambda *given: WordList(*given, encoder)):
        with pytest.raises(InputError, match="between two labels"):
            way(TEXTS, labels)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install"):
        AttributeClassifier(TEXTS, LABELS)

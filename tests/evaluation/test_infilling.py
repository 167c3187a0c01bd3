"""The measure of infilling: what was deleted gets full marks; the ways without a text VAE know what they must."""

import math

import pytest
import torch
from tiny_runs import SENTENCES, save_decoder

from textvae.errors import InputError
from textvae.evaluation.infilling import Gapped, LeftToRight, TrigramFiller, delete_words, measure_infilling
from textvae.evaluation.judges import Judges, LanguageModel
from textvae.evaluation.trigrams import Trigrams

NO_JUDGES = Judges(None, None)
LONG = [f"{text} and {other}" for text, other in zip(SENTENCES, SENTENCES[7:], strict=False)]


def test_one_to_three_words_are_deleted():
    gapped = delete_words(LONG, 100, seed=1)
    assert gapped == delete_words(LONG, 100, seed=1) != delete_words(LONG, 100, seed=2)
    assert len(gapped) == 100 and {sum(one.sizes) for one in gapped} == {1, 2, 3}
    assert {len(one.sizes) for one in gapped} == {1, 2, 3}
    for one in gapped:
        assert one.text in LONG and one.template.count("___") == len(one.sizes) and "___ ___" not in one.template
        given = [word for word in one.words if word is not None]
        assert len(given) + sum(one.sizes) == len(one.text.split())
    assert len(delete_words(LONG, 9999)) == len(LONG)
    with pytest.raises(InputError, match="6 words"):
        delete_words(["too short", "two  spaces between these words here"], 5)


def test_what_was_deleted_is_perfect_and_a_gap_is_not(tmp_path):
    gapped = delete_words(LONG, 20)
    judge = LanguageModel(save_decoder(tmp_path), torch.device("cpu"))
    values = measure_infilling([[one.text] for one in gapped], gapped, Judges(judge, None))
    nats, tokens = judge.nats([one.text for one in gapped])
    assert values == {
        "exact": 1,
        "exact_of_all": 1,
        "bleu": pytest.approx(100),
        "fluency": pytest.approx(float(nats.sum() / tokens.sum())),
    }
    second = measure_infilling([["no", one.text] for one in gapped], gapped, NO_JUDGES)
    assert second["exact"] == 0 and second["exact_of_all"] == 1
    none = measure_infilling([[] for _ in gapped], gapped, NO_JUDGES)
    assert none["exact_of_all"] == 0 and 0 < none["bleu"] < 100


def test_trigrams_are_probabilities_and_read_both_sides():
    texts = ["we like pizza now", "we eat pizza now", "we like music now", "we eat music slowly", "you like tea now"]
    model = Trigrams(texts)
    filler = TrigramFiller(model)
    words = [*model.counts[()]]
    for history in ((), ("we",), ("we", "like"), ("never", "seen")):
        unknown = model.probability("unseen", history)
        assert math.isclose(sum(model.probability(word, history) for word in words) + unknown, 1)
    assert filler.fill(Gapped("we eat music slowly", ["we", "eat", None, "slowly"], [1]))[0] == "we eat music slowly"
    assert filler.fill(Gapped("you like tea now", [None, "like", "tea", "now"], [1]))[0] == "you like tea now"
    spans = filler.fill(Gapped("", ["we", None, "slowly"], [2]), number=3)
    assert spans[0] == "we eat music slowly" and len({*spans}) == 3 and all(len(one.split()) == 4 for one in spans)
    assert filler.fill(Gapped("", [None, "tea", None], [2, 1]))[0] == "you like tea now"


def test_the_best_fill_is_that_of_all_words():
    model = Trigrams(SENTENCES)
    filler = TrigramFiller(model)

    def likelihood(text):
        words = ["<s>", "<s>", *text.split(), "</s>"]
        return math.prod(model.probability(c, (a, b)) for a, b, c in zip(words, words[1:], words[2:], strict=False))

    words = sorted({word for text in SENTENCES for word in text.split()})
    expected = max((f"we {a} saw {b} garden ." for a in words for b in words), key=likelihood)
    assert filler.fill(Gapped("", ["we", None, "saw", None, "garden", "."], [1, 1]))[0] == expected


def test_from_left_to_right_given_words_stay(tmp_path):
    left = LeftToRight(LanguageModel(save_decoder(tmp_path), torch.device("cpu")))
    for words, sizes in ((["we", None, "pizza", None], [2, 1]), ([None, "pizza"], [1])):
        found = left.fill(Gapped("", words, sizes))
        assert 0 < len(found) <= 5 and len({*found}) == len(found)
        assert all("pizza" in one.split() and len(one.split()) <= len(words) + sum(sizes) for one in found)

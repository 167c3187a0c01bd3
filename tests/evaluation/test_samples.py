"""Trigrams and measures of samples: probabilities that sum to one, a case by hand, what a repeated text scores."""

import math

import pytest
from tiny_runs import SENTENCES

from textvae import InputError
from textvae.evaluation.judges import Judges
from textvae.evaluation.ngrams import END, UNKNOWN, NGramModel
from textvae.evaluation.samples import SampleMeasures, sample_table, self_bleu

NONE = Judges(None, None)
TEXTS = ["the cat sat.", "The dog sat", "a cat ran"]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [[], ["the"], ["the", "cat"], ["never", "seen"], ["a", "dog", "sat"]])
def test_probabilities_of_the_next_word_sum_to_one(order, before):
    model = NGramModel(TEXTS, order=order)
    total = sum(model.probability(word, before) for word in [*model.vocabulary, END, UNKNOWN])
    assert total == pytest.approx(1) and model.probability("a") < 1


def test_a_bigram_by_hand():
    """Bigrams of “a b” and “a a”: <s>a twice; ab, b</s>, aa, a</s> once. Discounts 4 / (4 + 2 · 1), and for words."""
    model = NGramModel(["a b", "a a"], order=2)
    discount = 4 / 6
    # Seen after how many words: a after <s> and a, b after a, </s> after b and a. One of 1, two of 2.
    of_words = 1 / (1 + 2 * 2)
    unigram_b = (1 - of_words) / 5 + of_words * 3 / 5 / 4  # of four: a, b, the end, the unknown
    assert model.probability("b", ["a"]) == pytest.approx((1 - discount) / 3 + discount * 3 / 3 * unigram_b)
    nats = -sum(math.log(model.probability(*pair)) for pair in (("a", []), ("b", ["a"]), (END, ["a", "b"])))
    assert model.nats("A, b!") == pytest.approx(nats)
    assert model.perplexity(["a b"]) == pytest.approx(math.exp(nats / 3))


def test_perplexity_is_lower_for_texts_like_those_it_saw_and_finite_for_others():
    model = NGramModel(SENTENCES)
    assert model.perplexity(SENTENCES) < model.perplexity([" ".join(reversed(SENTENCES[0].split()))])
    assert math.isfinite(NGramModel(["one"], vocabulary=()).perplexity(["two", ""]))
    with pytest.raises(InputError, match="none"):
        NGramModel([])


def test_self_bleu_is_100_for_one_text_again_and_again_and_low_for_varied_ones():
    assert self_bleu(["we like pizza a lot"] * 9) == pytest.approx(100)
    varied = ["one two three four", "five six seven eight", "nine ten eleven twelve"]
    assert self_bleu(varied) == 0
    assert self_bleu(SENTENCES[:20], seed=1) == self_bleu(SENTENCES[:20], seed=1) > 0
    with pytest.raises(InputError, match="1 texts"):
        self_bleu(["one"])


def test_samples_that_say_one_thing_have_worse_measures_than_real_ones():
    real, others = SENTENCES[:40], SENTENCES[40:80]
    measures = SampleMeasures(others, {word for text in SENTENCES for word in text.lower().split()}, NONE)
    good, bad = measures.of(real), measures.of(real[:1] * 40)
    assert good["reverse_perplexity"] < bad["reverse_perplexity"]
    assert good["distinct_2"] > bad["distinct_2"] and good["self_bleu"] < bad["self_bleu"] == pytest.approx(100)
    lines = sample_table({"real": good, "one": {"latent_nats": 1.5} | bad}).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| real |  |") and lines[3].startswith("| one | 1.50 |")
    with pytest.raises(InputError, match="39 samples and 40"):
        measures.of(real[1:])

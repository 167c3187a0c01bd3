import math

import pytest
import sacrebleu
import torch
from torch.distributions import Normal

from textvae.data.words import word_count
from textvae.errors import InputError
from textvae.evaluation.metrics import (
    active_units,
    active_units_standard_error,
    corpus_bleu,
    distinct_bigrams,
    distinct_share,
    exact_match,
    information_terms,
    minibatch_mutual_information,
    mutual_information,
    perplexity,
    ratio_standard_error,
    standard_error,
)


def posteriors(num_texts, latent_size, spread=1.0, logvar=0.0, seed=0):
    """(mean, logvar, latents), each (N, Z): means spread by `spread`, one sample of each."""
    generator = torch.Generator().manual_seed(seed)
    mean = spread * torch.randn(num_texts, latent_size, generator=generator)
    logvar = logvar + 0.3 * torch.randn(num_texts, latent_size, generator=generator)
    noise = torch.randn(num_texts, latent_size, generator=generator)
    return mean, logvar, mean + torch.exp(logvar / 2) * noise


def naive_mutual_information(mean, logvar, latents):
    mean, logvar, latents = mean.double(), logvar.double(), latents.double()
    log_q = Normal(mean, torch.exp(logvar / 2)).log_prob(latents[:, None]).sum(-1)  # (N samples, N posteriors)
    return (log_q.diagonal() - log_q.exp().mean(1).log()).mean().item()


def test_active_units_are_those_whose_mean_varies_enough():
    column = torch.tensor([-1.0, 1.0, -1.0, 1.0])  # unbiased variance 4/3
    scales = torch.tensor([1.0, 0.0, 0.05, 0.5, 0.09])  # variances 1.33, 0, 0.0033, 0.33, 0.0108
    mean = column[:, None] * scales + torch.tensor([0.0, 9.0, 9.0, 9.0, 9.0])
    assert active_units(mean) == 3
    assert active_units(mean, threshold=0.2) == 2
    assert active_units(mean[:1]) == 0


def test_active_units_use_the_unbiased_variance():
    mean = torch.tensor([[0.0], [1.0]])  # variance 0.5, biased 0.25
    assert active_units(mean, threshold=0.5) == 1


def test_the_standard_error_of_a_mean():
    assert standard_error(torch.tensor([1.0, 3.0, 5.0, 7.0])) == pytest.approx(math.sqrt(20 / 3) / 2)
    # of a share p: √(p (1 - p) / (n - 1))
    assert standard_error(torch.tensor([True, False, False, False])) == pytest.approx(math.sqrt(0.25 * 0.75 / 3))
    assert standard_error(torch.tensor([4.0])) == math.inf


def test_the_standard_error_of_a_ratio_is_what_other_texts_would_change():
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 30, (500, 200), generator=generator).double()
    amounts = 5 * counts + counts.sqrt() * torch.randn(500, 200, generator=generator)
    spread = (amounts.sum(1) / counts.sum(1)).std().item()
    found = [ratio_standard_error(*pair) for pair in zip(amounts[:50], counts[:50], strict=True)]
    assert sum(found) / 50 == pytest.approx(spread, rel=0.15)
    assert ratio_standard_error(amounts[0, :1], counts[0, :1]) == math.inf


def test_the_standard_error_of_active_units_is_what_other_texts_would_change():
    """Of 20 units with a variance near the threshold, against the spread over fresh sets of texts."""
    generator = torch.Generator().manual_seed(0)
    sets = 9 + 0.1 * torch.randn(300, 150, 20, generator=generator)  # (sets, N, Z), variance 0.01
    spread = torch.tensor([active_units(mean) for mean in sets], dtype=torch.float64).std().item()
    found = [active_units_standard_error(mean) for mean in sets[:20]]
    assert sum(found) / 20 == pytest.approx(spread, rel=0.25)
    assert active_units_standard_error(sets[0], seed=0) == found[0] != active_units_standard_error(sets[0], seed=1)


def test_the_standard_error_of_active_units_is_zero_where_none_is_in_doubt():
    mean = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1.0, 0.0, 0.01]) + 1e4
    assert active_units(mean) == 2 and active_units_standard_error(mean) == 0
    assert active_units_standard_error(mean[:1]) == math.inf


def test_information_terms_are_what_mutual_information_is_the_mean_of():
    sample = posteriors(50, 3)
    terms = information_terms(*sample, chunk_size=7)
    assert terms.shape == (50,) and (terms <= math.log(50)).all()
    assert terms.mean().item() == pytest.approx(mutual_information(*sample))


@pytest.mark.parametrize("chunk_size", [1, 7, 50, 512])
def test_mutual_information_equals_the_direct_computation(chunk_size):
    sample = posteriors(50, 3)
    assert mutual_information(*sample, chunk_size=chunk_size) == pytest.approx(naive_mutual_information(*sample))


def test_mutual_information_of_collapsed_posteriors_is_zero():
    latents = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    assert mutual_information(torch.zeros(300, 4), torch.zeros(300, 4), latents) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("spread", "logvar"), [(10.0, -4.0), (1000.0, -12.0), (1.0, -30.0)])
def test_mutual_information_of_separate_posteriors_is_ln_n_and_never_above(spread, logvar):
    for seed in range(5):
        value = mutual_information(*posteriors(200, 8, spread, logvar, seed))
        assert value == pytest.approx(math.log(200), abs=1e-3) and value <= math.log(200)


def test_mutual_information_of_a_gaussian_channel():
    # Means from N(0, 3²) and unit noise: I = ½ ln(1 + 9) per dimension.
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(3000, 2, generator=generator)
    latents = mean + torch.randn(3000, 2, generator=generator)
    assert mutual_information(mean, torch.zeros_like(mean), latents) == pytest.approx(math.log(10), abs=0.1)


def test_minibatch_mutual_information_sees_no_more_than_its_batch():
    sample = posteriors(200, 8, spread=10.0, logvar=-4.0)
    value = minibatch_mutual_information(*sample, batch_size=32)
    # Six batches of 32 and a last one of 8, weighted by their texts.
    assert value == pytest.approx((192 * math.log(32) + 8 * math.log(8)) / 200, abs=1e-3)
    assert value <= math.log(32) < mutual_information(*sample)


def test_minibatch_mutual_information_of_one_batch_is_that_of_the_set():
    sample = posteriors(40, 3)
    assert minibatch_mutual_information(*sample, batch_size=64) == pytest.approx(mutual_information(*sample))


def test_mutual_information_refuses_what_is_not_one_sample_per_posterior():
    mean, logvar, latents = posteriors(6, 2)
    with pytest.raises(InputError, match=r"\(N, Z\), not \(6, 2\), \(6, 2\), \(1, 2\)"):
        mutual_information(mean, logvar, latents[:1])
    with pytest.raises(InputError, match="at least one text"):
        mutual_information(mean[:0], logvar[:0], latents[:0])
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        minibatch_mutual_information(mean, logvar, latents, batch_size=0)


def test_perplexity():
    assert perplexity(10 * math.log(7), 10) == pytest.approx(7)
    # Mikolov's PTB test set: 100 nats for each of 3,761 sentences, 78,669 words and as many EOS as sentences.
    assert perplexity(100 * 3761, 78_669 + 3761) == pytest.approx(95.84, abs=0.01)
    assert perplexity(1e6, 1) == math.inf
    with pytest.raises(InputError, match="at least one token or word"):
        perplexity(1.0, 0)


def test_word_count_is_by_whitespace_where_there_is_any():
    assert [word_count(text) for text in ("a  small\tcat .", "", " \n", "дом у моря")] == [4, 0, 0, 3]
    assert [word_count(text) for text in ("我喜欢猫。", "ネコ が好き", "5只cat", "แมว")] == [5, 5, 3, 3]


def test_exact_match_is_the_share_of_equal_texts():
    assert exact_match(["a b", "c", "D", "e"], ["a b", "c ", "d", "e"]) == 0.5


def test_corpus_bleu():
    references = ["the cat sat on the mat today .", "a dog ran over the green hill ."]
    assert corpus_bleu(references, references) == pytest.approx(100)
    assert corpus_bleu(["seven blue words", "nothing alike here"], references) < 5
    # One hypothesis of 4 words against 5: every n-gram precision is 1, the brevity penalty exp(1 - 5/4).
    assert corpus_bleu(["one two three four"], ["one two three four five"]) == pytest.approx(100 * math.exp(-0.25))


def test_distinct_share():
    assert distinct_share(["a", "b", "a", "A"]) == 0.75


def test_distinct_bigrams_are_counted_over_all_texts_and_within_each():
    assert distinct_bigrams(["a b a b", "b a", "c"]) == 2 / 4
    assert distinct_bigrams(["我很我很"]) == 2 / 3
    assert distinct_bigrams(["word", ""]) == 0


def test_corpus_bleu_of_chinese_is_that_of_its_characters():
    hypotheses, references = ["我很喜欢这本书", "酒店不太好，不会再来"], ["我不喜欢这本书", "酒店很不好，不会再来"]
    assert corpus_bleu(hypotheses, references) == sacrebleu.corpus_bleu(hypotheses, [references], tokenize="zh").score
    assert 20 < corpus_bleu(hypotheses, references) < 90


@pytest.mark.parametrize("metric", [exact_match, corpus_bleu])
def test_texts_must_come_in_pairs(metric):
    with pytest.raises(InputError, match="2 hypotheses and 1 references"):
        metric(["a", "b"], ["a"])
    with pytest.raises(InputError, match="0 hypotheses"):
        metric([], [])
    with pytest.raises(InputError, match="at least one text"):
        distinct_share([])

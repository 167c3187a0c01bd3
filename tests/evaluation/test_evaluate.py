"""Evaluation: against exact integrals and by-hand sums, whatever the batch size, order and chunks."""

import itertools
import logging
import math
from contextlib import contextmanager

import pytest
import torch
from datasets import Dataset
from tokenizers import processors
from torch.distributions import Normal

from textvae import InputError, TextVAEConfig, TextVAEModel, evaluate, importance_weighted_nll
from textvae.data.inference_batches import InferenceBatches
from textvae.data.special_tokens import IGNORED
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.evaluation import likelihood
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.evaluate import warn_of_excess_information
from textvae.evaluation.likelihood import nll_of_priors, posterior_terms
from textvae.latents import GaussianPrior

DECODERS = ["gru2", "gpt2"]
TEXTS = ["a cat sat", "the dog", "a dog and the cat sat on a mat", "on", "the cat ran", "a bird sang on the mat"]
KEYS = (
    "negative_elbo reconstruction kl iw_nll mutual_information active_units shuffle_gap perplexity_token "
    "perplexity_word exact_match bleu num_texts num_tokens num_importance_samples num_importance_texts "
    "num_reconstructed_texts latent_size minibatch_mutual_information num_unknown zero_gap mean_gap noise_gap "
    "distinct_samples distinct_2_samples distinct_2_held_out num_prior_samples"
).split()
WITH_ERROR = (
    "negative_elbo reconstruction kl iw_nll mutual_information active_units exact_match "
    "shuffle_gap zero_gap mean_gap noise_gap"
).split()
GAPS = ("shuffle_gap", "zero_gap", "mean_gap", "noise_gap")


def in_turn(noise):
    """k → the next k of the draws (K, B, Z)."""
    left = iter(noise)
    return lambda k: torch.stack(list(itertools.islice(left, k)))


def normal(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# the importance-weighted bound


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("num_samples", [1, 2, 9])
def test_the_weights_are_likelihood_times_prior_over_posterior(make_model, make_texts, decoder, num_samples):
    model, batch, noise = make_model("bert", decoder), make_texts([6, 3, 4]), normal(num_samples, 3, 5)
    posterior = model.encode(**batch)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    log_weights = []
    for draw in noise:
        latents = posterior.mean + posterior.stddev * draw
        log_joint = Normal(0.0, 1.0).log_prob(latents).sum(-1) - model.reconstruction(latents, labels)
        log_weights.append(log_joint - posterior.log_prob(latents).sum(-1))
    expected = -(torch.stack(log_weights).logsumexp(0) - math.log(num_samples))
    found = importance_weighted_nll(model, batch, num_samples, in_turn(noise))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-4)
    assert not found.requires_grad and (found > 0).all()


@pytest.mark.parametrize("latent_size", [1, 2])
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_bounds_meet_the_integral_over_the_latents(make_model, make_texts, decoder, latent_size):
    """-log ∫ p(x|z) p(z) dz on a grid, and the mean of forty estimates of 1,000 samples; N(0, I) and a fitted prior."""
    model, batch = make_model("bert", decoder, latent_size=latent_size), make_texts([5, 3])
    with torch.no_grad():  # a posterior wide enough for few samples
        model.posterior.to_logvar.weight.zero_()
        model.posterior.to_logvar.bias.fill_(0.5)
        model.posterior.to_mean.weight.mul_(0.3)
    scale = torch.tensor([[1.1, 0.0], [0.5, 0.8]])[:latent_size, :latent_size]
    fitted = GaussianPrior(torch.full((1, latent_size), 0.7), scale.unsqueeze(0))
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    # The trapezoidal rule, whose ends are nothing here: the sum times the volume of a cell.
    line = torch.linspace(-7, 7, 701 if latent_size == 1 else 101)
    grid = torch.cartesian_prod(*[line] * latent_size).view(-1, latent_size)
    standard = Normal(0.0, 1.0).log_prob(grid).double().sum(-1)
    with torch.no_grad():
        log_likelihood = [-model.reconstruction(grid, row.expand(len(grid), -1)).double() for row in labels]
        log_prior = torch.stack([standard, fitted.log_density(grid.double())])  # (2, points)
        log_joint = torch.stack(log_likelihood) + log_prior.unsqueeze(1)  # (2, texts, points)
        exact = -(log_joint.logsumexp(2) + latent_size * (line[1] - line[0]).double().log())
        torch.manual_seed(0)
        estimates = torch.stack([nll_of_priors(model, batch, 1000, fitted=fitted).double() for _ in range(40)])
    error = estimates.std(0) / math.sqrt(40)
    assert error.max() < 0.02
    assert ((estimates.mean(0) - exact).abs() < 3 * error + 1e-4).all()
    assert ((exact[0] - exact[1]).abs() > 0.01).any()  # the two priors are two models
    one = torch.stack([nll_of_priors(model, batch, 1, fitted=fitted).double() for _ in range(100)]).mean(0)
    assert (one > exact + 0.01).all()  # the bound is loose at one sample: the integral was no triviality


@pytest.mark.slow
def test_with_a_fitted_prior_its_bounds_stand_beside_the_others(make_model, tokenizer):
    """The report without a prior is part of that with one; the −ELBO of a prior is the bound of one sample."""
    model, texts = make_model("bert", "gru2"), tokenized(tokenizer)
    posterior = posterior_terms(model, InferenceBatches(texts, TokenizerPair(tokenizer), model.device, 4), range(6))
    fitted = GaussianPrior.fit(posterior["mean"], (posterior["logvar"] / 2).exp())
    options = {"num_importance_samples": 3, "num_reconstructed_texts": 2}
    without, report = (evaluate(model, tokenizer, texts, prior=prior, **options) for prior in (None, fitted))
    same = {name: value for name, value in without.items() if not name.startswith("distinct")}  # they draw from it
    assert {name: report[name] for name in same} == same
    assert report["fitted_negative_elbo"] == pytest.approx(report["reconstruction"] + report["fitted_kl"])
    assert report["fitted_kl"] < report["kl"]  # what the moments of these very posteriors make sure of
    assert report["fitted_iw_nll"] != report["iw_nll"]


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_bound_tightens_with_the_samples(make_model, make_texts, decoder):
    """On the same 64 draws, cut into groups: by Jensen's inequality, for every text."""
    model, batch, noise = make_model("bert", decoder), make_texts([6, 3, 4]), normal(64, 3, 5)
    bounds = []
    for k in (1, 4, 16, 64):
        groups = [importance_weighted_nll(model, batch, k, in_turn(draws)) for draws in noise.split(k)]
        bounds.append(torch.stack(groups).mean(0))
    assert all((looser > tighter + 1e-3).all() for looser, tighter in itertools.pairwise(bounds))


def test_chunks_and_batches_change_nothing(make_model, make_texts, monkeypatch):
    model, batch, noise = make_model("bert", "gru2"), make_texts([6, 3, 4]), normal(20, 3, 5)
    expected = importance_weighted_nll(model, batch, 20, in_turn(noise))
    for rows in (1, 3, 13, 60):
        monkeypatch.setattr("textvae.evaluation.likelihood.ROWS_AT_ONCE", rows)
        found = importance_weighted_nll(model, batch, 20, in_turn(noise))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for row in range(3):
        alone = {name: tensor[[row]] for name, tensor in batch.items()}
        found = importance_weighted_nll(model, alone, 20, in_turn(noise[:, [row]]))
        torch.testing.assert_close(found, expected[[row]], rtol=1e-5, atol=1e-5)


def test_the_decoder_is_given_few_latents_at_once_where_batches_are_small_or_texts_long(
    make_model, make_texts, monkeypatch
):
    model, given = make_model("bert", "gru"), []
    reconstruction = model.reconstruction

    def watched(latents, labels, **options):
        given.append(latents.shape[0] * labels.shape[1])
        return reconstruction(latents, labels, **options)

    monkeypatch.setattr(model, "reconstruction", watched)
    batch = make_texts([6, 3])
    importance_weighted_nll(model, batch, 1000, batch_size=2)
    assert max(given) == 8 * 2 * 6 and sum(given) == 1000 * 2 * 6
    given.clear()
    importance_weighted_nll(model, batch, 1000)
    assert max(given) == 512 * 6
    monkeypatch.setattr("textvae.evaluation.likelihood.TOKENS_AT_ONCE", 60)
    given.clear()
    importance_weighted_nll(model, batch, 10)
    assert max(given) == 60


def blind(model):
    """A decoder that cannot see z, which is added to its inputs, and a posterior that is the prior."""
    with torch.no_grad():
        for layer in (model.posterior.to_mean, model.posterior.to_logvar, model.injection.to_embedding):
            layer.weight.zero_()
            layer.bias.zero_()
    return model


@pytest.mark.parametrize("decoder", DECODERS)
def test_without_z_the_bound_is_the_language_models_nll(make_model, decoder):
    """And it has the right sign: what the decoder expects costs less than what it expects least."""
    model = blind(make_model("bert", decoder, latent_injection="embedding"))
    rows = []
    for pick in (torch.argmax, torch.argmin):
        ids = torch.tensor([[2]])
        for _ in range(5):
            ids = torch.cat([ids, pick(model.decoder(ids).logits[:, -1]).view(1, 1)], dim=1)
        rows.append(ids[:, 1:])
    batch = {"input_ids": torch.cat(rows), "attention_mask": torch.ones(2, 5, dtype=torch.long)}
    inputs = torch.cat([torch.full((2, 1), 2), batch["input_ids"][:, :-1]], dim=1)
    log_probabilities = model.decoder(inputs).logits.log_softmax(-1)
    expected = -log_probabilities.gather(-1, batch["input_ids"][..., None]).sum((1, 2)).detach()
    for num_samples in (1, 30):
        found = importance_weighted_nll(model, batch, num_samples)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert 0 < found[0] < found[1]


def language_model(make_model, decoder="gpt2", **changes):
    return make_model("bert", decoder, latent_injection="none", **changes)


def test_of_a_language_model_one_sample_is_drawn_and_exact(make_model, make_texts):
    model, batch, drawn = language_model(make_model), make_texts([6, 3, 4]), []
    found = importance_weighted_nll(model, batch, 500, lambda k: drawn.append(k) or normal(k, 3, 5))
    assert drawn == [1]
    with torch.no_grad():
        assert torch.equal(found, model(**batch).reconstruction)


def test_no_sample_is_no_bound(make_model, make_texts):
    with pytest.raises(InputError, match="num_samples is 0"):
        importance_weighted_nll(make_model(), make_texts([3, 4]), 0)


# a corpus


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer(TEXTS)


def tokenized(tokenizer, texts=TEXTS):
    return Dataset.from_dict({"text": texts, "input_ids": [tokenizer(text)["input_ids"] for text in texts]})


def in_batches(corpus, tokenizer, model, batch_size=4):
    return InferenceBatches(corpus, TokenizerPair(tokenizer), model.device, batch_size)


def evaluated(model, tokenizer, texts=TEXTS, **options):
    few = {"num_importance_samples": 20, "max_new_tokens": 12, "num_prior_samples": 3}
    options = {**few, "batch_size": 4, **options}
    return evaluate(model, tokenizer, tokenized(tokenizer, texts), **options)


@pytest.fixture(scope="module")
def fitted(tokenizer):
    """A model that has learnt TEXTS by heart."""
    torch.manual_seed(0)
    encoder = {"model_type": "bert", "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes = {"vocab_size": len(tokenizer)}
    config = TextVAEConfig(
        encoder={**encoder, "intermediate_size": 40, "hidden_dropout_prob": 0.0, **sizes},
        decoder={"model_type": "gru", "hidden_size": 48, "embedding_size": 24, **sizes},
        latent_size=8,
    )
    model = TextVAEModel(config)
    batch = tokenizer.pad({"input_ids": tokenizer(TEXTS)["input_ids"]}, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        output = model(batch["input_ids"], batch["attention_mask"])
        loss = output.reconstruction.mean() + 0.05 * output.kl.sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_report_is_complete_and_consistent(make_model, tokenizer, decoder):
    report = evaluated(make_model("bert", decoder), tokenizer)
    assert sorted(report) == sorted([*KEYS, *(f"{name}_standard_error" for name in WITH_ERROR)])
    assert all(report[f"{name}_standard_error"] >= 0 for name in WITH_ERROR)
    assert report["minibatch_mutual_information"] == pytest.approx(report["mutual_information"])  # of one batch
    assert all(math.isfinite(value) for value in report.values())
    assert report["negative_elbo"] == pytest.approx(report["reconstruction"] + report["kl"])
    assert report["mutual_information"] <= min(report["kl"], math.log(6) + 1e-6)
    words = sum(len(text.split()) for text in TEXTS) + 6  # and an EOS for each text
    assert report["num_tokens"] == words and report["num_texts"] == report["num_importance_texts"] == 6
    for name in ("perplexity_token", "perplexity_word"):
        assert report[name] == pytest.approx(math.exp(report["iw_nll"] * 6 / words))
    assert 0 <= report["exact_match"] <= 1 and 0 <= report["bleu"] <= 100
    assert 0 <= report["active_units"] <= report["latent_size"] == 5


def test_the_standard_errors_are_those_of_a_mean_over_the_texts(make_model, tokenizer):
    model, corpus = make_model("bert", "gru"), tokenized(tokenizer)
    report = evaluated(model, tokenizer)
    terms = posterior_terms(model, in_batches(corpus, tokenizer, model), range(6))
    each = {name: terms[name] for name in ("kl", "reconstruction")}
    each["negative_elbo"] = each["kl"] + each["reconstruction"]
    for name, values in each.items():
        assert report[f"{name}_standard_error"] == pytest.approx(values.std().item() / math.sqrt(6), rel=1e-4)
    alone = evaluated(model, tokenizer, num_importance_texts=1, num_reconstructed_texts=1)
    assert alone["iw_nll_standard_error"] == alone["exact_match_standard_error"] == math.inf


def test_the_iw_nll_of_other_texts_is_within_its_standard_errors(fitted, tokenizer):
    """Of 400 texts, halved: the difference of the means has the errors' size."""
    words = [word for text in TEXTS for word in text.split()]
    order = torch.randint(len(words), (400, 4), generator=torch.Generator().manual_seed(0)).tolist()
    texts = [" ".join(words[i] for i in row) for row in order]
    halves = [
        evaluated(fitted, tokenizer, part, batch_size=64, num_reconstructed_texts=1)
        for part in (texts[:200], texts[200:])
    ]
    error = math.hypot(*(half["iw_nll_standard_error"] for half in halves))
    assert abs(halves[0]["iw_nll"] - halves[1]["iw_nll"]) < 3 * error < 0.2 * halves[0]["iw_nll"]


@pytest.mark.parametrize("decoder", DECODERS)
def test_batch_size_and_order_change_nothing(make_model, tokenizer, decoder):
    model = make_model("bert", decoder)
    expected = evaluated(model, tokenizer, batch_size=64)
    for batch_size in (1, 4):
        assert evaluated(model, tokenizer, batch_size=batch_size) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_terms_of_each_text_stand_in_the_order_of_the_corpus(make_model, tokenizer):
    model, corpus = make_model("bert", "gru"), tokenized(tokenizer)
    terms = posterior_terms(model, in_batches(corpus, tokenizer, model), range(6))
    for row, ids in enumerate(corpus["input_ids"]):
        with torch.no_grad():
            alone = model(torch.tensor([ids]), latents=terms["latents"][[row]])
        torch.testing.assert_close(terms["mean"][row], alone.mean[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(terms["kl"][row], alone.kl[0].sum(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(terms["reconstruction"][row], alone.reconstruction[0], rtol=1e-4, atol=1e-5)


def test_every_text_and_every_purpose_has_noise_of_its_own(make_model, tokenizer):
    model, corpus = make_model("bert", "gru"), tokenized(tokenizer)
    terms = posterior_terms(model, in_batches(corpus, tokenizer, model), range(6))
    noise = (terms["latents"] - terms["mean"]) / (terms["logvar"] / 2).exp()
    assert len(noise.unique(dim=0)) == 6 and noise.abs().max() < 5
    streams = [
        likelihood.noise_of_texts(0, purpose, [4])(1, 5)[0] for purpose in (likelihood.POSTERIOR, likelihood.IMPORTANCE)
    ]
    torch.testing.assert_close(noise[[4]], streams[0], rtol=1e-3, atol=1e-4)
    assert not torch.isclose(*streams).any()


def test_the_shuffle_gap_is_what_the_others_z_costs(make_model, tokenizer):
    """Of two texts each gets the other's z; and a given z reaches the text that it is given to."""
    model, corpus = make_model("bert", "gru", initializer_range=0.5), tokenized(tokenizer)
    texts = in_batches(corpus, tokenizer, model, batch_size=2)
    some, latents = [5, 1, 4, 2], normal(4, 5)
    found = likelihood.nll_with(model, texts, some, latents)
    for row, index in enumerate(sorted(some)):
        expected = model.reconstruction(latents[[row]], torch.tensor([corpus["input_ids"][index]]))
        torch.testing.assert_close(found[[row]], expected.detach(), rtol=1e-4, atol=1e-4)
    pair = tokenized(tokenizer, TEXTS[:2])
    both = in_batches(pair, tokenizer, model, batch_size=2)
    terms, labels = posterior_terms(model, both, range(2)), both.batch([0, 1])["labels"]
    swapped = model.reconstruction(terms["latents"].flip(0), labels).mean().item()
    gap = evaluated(model, tokenizer, TEXTS[:2])["shuffle_gap"]
    assert gap == pytest.approx(swapped - terms["reconstruction"].mean().item(), abs=1e-4) and abs(gap) > 1e-2


def test_the_seed_decides(make_model, tokenizer):
    model = make_model("bert", "gru", encoder_changes={"hidden_dropout_prob": 0.5}).train()
    first, again, other = (evaluated(model, tokenizer, seed=seed) for seed in (0, 0, 1))
    assert first == again  # nor is there any dropout
    assert first["iw_nll"] != other["iw_nll"] and first["reconstruction"] != other["reconstruction"]
    assert first["kl"] == other["kl"]


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_and_gradients_are_left_alone(make_model, tokenizer, training):
    model = make_model("bert", "gru").train(training)
    evaluated(model, tokenizer)
    assert all(module.training == training for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_a_decoder_blind_to_z_and_a_collapsed_encoder_are_seen_through(make_model, tokenizer):
    report = evaluated(blind(make_model("bert", "gru2", latent_injection="embedding")), tokenizer)
    assert [report[name] for name in GAPS] == pytest.approx([0] * 4, abs=1e-5)
    assert report["active_units"] == 0
    assert report["kl"] == pytest.approx(0, abs=1e-6)
    assert report["mutual_information"] == pytest.approx(0, abs=1e-5)
    assert report["iw_nll"] == pytest.approx(report["negative_elbo"], rel=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_language_model_is_measured_exactly_and_knows_nothing_of_z(make_model, tokenizer, decoder):
    model = language_model(make_model, decoder)
    report = evaluated(model, tokenizer, num_importance_samples=500)
    assert report["num_importance_samples"] == 1
    assert report["kl"] == report["active_units"] == 0 and not any(report[name] for name in GAPS)
    assert report["mutual_information"] == pytest.approx(0, abs=1e-9)
    assert report["iw_nll"] == report["negative_elbo"] == report["reconstruction"]
    nll = 0
    for ids in tokenized(tokenizer)["input_ids"]:
        logits = model.decode(torch.zeros(1, 5), torch.tensor([[2, *ids[:-1]]]))
        nll += torch.nn.functional.cross_entropy(logits[0], torch.tensor(ids), reduction="sum").item()
    assert report["iw_nll"] == pytest.approx(nll / 6, rel=1e-5)


def test_what_was_learnt_by_heart_is_read_back(fitted, tokenizer):
    report = evaluated(fitted, tokenizer, batch_size=2, num_importance_samples=200)
    assert report["exact_match"] == 1 and report["bleu"] == pytest.approx(100)
    least = math.log(6) - report["reconstruction"]  # one z for all six texts gives them log 6 nats or more on average
    assert least > 1 and all(report[name] > least for name in GAPS)
    assert report["active_units"] >= 3
    assert report["mutual_information"] == pytest.approx(math.log(6), abs=0.05)
    assert report["mutual_information"] <= min(report["kl"], math.log(6) + 1e-6)
    assert report["iw_nll"] < report["negative_elbo"]


def test_parts_of_the_corpus_are_counted(fitted, tokenizer):
    whole = evaluated(fitted, tokenizer)
    part = evaluated(fitted, tokenizer, num_importance_texts=3, num_reconstructed_texts=2)
    assert part["num_importance_texts"] == 3 and part["num_reconstructed_texts"] == 2
    assert part["negative_elbo"] == whole["negative_elbo"] and part["iw_nll"] != whole["iw_nll"]
    assert part["exact_match"] == 1
    many = evaluated(fitted, tokenizer, num_importance_texts=1000, num_reconstructed_texts=1000)
    assert many == whole


# an evaluation that is interrupted


@contextmanager
def interrupted_after(model, calls):
    """Ctrl-C in the decoder's call after so many; counts them where there are fewer."""
    counted = []

    def interrupt(*_):
        counted.append(1)
        if len(counted) > calls:
            raise KeyboardInterrupt

    hook = model.decoder.base_model.register_forward_hook(interrupt)
    try:
        yield counted
    finally:
        hook.remove()


@pytest.mark.parametrize("decoder", DECODERS)
def test_an_interrupted_evaluation_goes_on_where_it_stopped(make_model, tokenizer, tmp_path, caplog, decoder):
    model, cache = make_model("bert", decoder).train(), tmp_path / "values"
    one_by_one = {"batch_size": 1, "num_importance_samples": 8}
    whole = evaluated(model, tokenizer, **one_by_one)
    with pytest.raises(KeyboardInterrupt), interrupted_after(model, calls=4):
        evaluated(model, tokenizer, **one_by_one, cache=cache)
    assert model.training
    with cache.open("ab") as file:
        file.truncate(cache.stat().st_size - 5)  # and the machine died while it wrote
    with interrupted_after(model, calls=1000) as again:
        assert evaluated(model, tokenizer, **one_by_one, cache=cache) == whole
    assert caplog.messages == [f"3 of 6 importance-weighted values were already there, in {cache}"]
    with interrupted_after(model, calls=1000) as complete:
        assert evaluated(model, tokenizer, **one_by_one, cache=str(cache)) == whole
    assert len(again) == len(complete) + 3
    options = {"num_importance_samples": 8, "num_importance_texts": 4}
    more = evaluated(model, tokenizer, **options, batch_size=4, cache=cache)  # others of its kind profit
    assert more["iw_nll"] == evaluated(model, tokenizer, **one_by_one, num_importance_texts=4)["iw_nll"]


def test_a_cache_of_another_evaluation_is_refused_before_any_work(make_model, tokenizer, tmp_path):
    model, cache = make_model("bert", "gru"), tmp_path / "values"
    evaluated(model, tokenizer, cache=cache)
    content = cache.read_bytes()
    others = [
        {"model": make_model("bert", "gru", latent_size=4)},
        {"model": make_model("bert", "gru", max_logvar=1.0)},
        {"texts": TEXTS[:5]},
        {"texts": [*TEXTS[:5], "the bird"]},
        {"seed": 1},
        {"num_importance_samples": 21},
        {"mixed_precision": "bf16"},
    ]
    for other in others:
        options = {"model": model, "tokenizer": tokenizer, "cache": cache, **other}
        with (
            pytest.raises(InputError, match="values belongs to another evaluation"),
            interrupted_after(options["model"], calls=0),
        ):
            evaluated(**options)
    with torch.no_grad():
        model.posterior.to_mean.bias[0] += 1e-6
    with pytest.raises(InputError, match="values belongs to another evaluation"):
        evaluated(model, tokenizer, cache=cache)
    assert cache.read_bytes() == content


@pytest.mark.parametrize("decoder", DECODERS)
def test_in_half_precision_the_probabilities_still_sum_to_one(make_model, tokenizer, decoder):
    model = make_model("bert", decoder)
    full, half = (evaluated(model, tokenizer, mixed_precision=precision) for precision in ("no", "bf16"))
    assert half.keys() == full.keys() and half["iw_nll"] != full["iw_nll"]
    assert half["iw_nll"] == pytest.approx(full["iw_nll"], rel=2e-3)
    latents, words = normal(1, 5), torch.arange(model.config.decoder.vocab_size)[:, None]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        nll = model.eval().reconstruction(latents.expand(len(words), -1), words)
    assert float((-nll).logsumexp(0)) == pytest.approx(0, abs=1e-5)


def test_unknown_words_are_counted(make_model, tokenizer):
    model = make_model("bert", "gru")
    assert evaluated(model, tokenizer)["num_unknown"] == 0
    assert evaluated(model, tokenizer, [*TEXTS, "a <unk> unicorn sat sideways"])["num_unknown"] == 2


def test_only_the_words_that_are_scored_count_in_the_perplexity(make_model, tokenizer):
    """Of a text that was cut the likelihood is that of its beginning."""
    model, long = make_model("bert", "gru"), "the cat sat on the mat and <unk> sat on the cat"
    texts = [long, long, "a cat"]
    cut = tokenize_corpus(Dataset.from_dict({"text": texts}), TokenizerPair(tokenizer), 6)
    few = {"num_importance_samples": 2, "max_new_tokens": 6, "num_prior_samples": 2}
    report = evaluate(model, tokenizer, cut, **few)
    words = 5 + 1 + 5 + 1 + 2 + 1
    assert report["perplexity_word"] == pytest.approx(math.exp(report["iw_nll"] * 3 / words))
    assert report["perplexity_word"] == pytest.approx(report["perplexity_token"])
    uncut = tokenize_corpus(Dataset.from_dict({"text": texts}), TokenizerPair(tokenizer), 40)
    report = evaluate(model, tokenizer, uncut, **few)
    assert report["perplexity_word"] == pytest.approx(report["perplexity_token"])


def test_a_leading_token_is_read_but_not_predicted(make_model, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    leading = type(tokenizer).from_pretrained(tmp_path)
    leading.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    assert leading("on")["input_ids"][0] == 2
    model = make_model("bert", "gru", latent_injection="embedding")
    report = evaluated(model, leading)
    assert report["num_tokens"] == evaluated(model, tokenizer)["num_tokens"]
    # a decoder that does not see z predicts the same tokens after the same BOS, whatever the encoder read
    assert evaluated(blind(model), leading)["iw_nll"] == pytest.approx(evaluated(model, tokenizer)["iw_nll"], rel=1e-5)


@pytest.mark.parametrize("texts", [[], TEXTS[:1]])
def test_fewer_than_two_texts_are_refused(make_model, tokenizer, texts):
    with pytest.raises(InputError, match=f"at least 2 texts, there are {len(texts)}"):
        evaluated(make_model(), tokenizer, texts)


@pytest.mark.parametrize(
    "dataset", [[], ["a text", "another"], {}, {"text": TEXTS}, Dataset.from_dict({"text": TEXTS})]
)
def test_texts_that_are_not_tokenized_are_refused(make_model, tokenizer, dataset):
    with pytest.raises(InputError, match="no columns input_ids and text: make them with"):
        evaluate(make_model(), tokenizer, dataset)


@pytest.mark.parametrize(
    "name",
    ["num_importance_samples", "num_importance_texts", "num_reconstructed_texts", "num_prior_samples", "batch_size"],
)
def test_numbers_below_one_are_refused_before_any_work(make_model, tokenizer, name):
    model = make_model().train()
    with pytest.raises(InputError, match=f"{name} is 0, it must be at least 1"):
        evaluated(model, tokenizer, **{name: 0})
    assert model.training


def test_an_option_that_there_is_not_is_answered_with_the_nearest(make_model, tokenizer):
    with pytest.raises(InputError, match="no setting 'importance_samples'; did you mean 'num_importance_samples'"):
        evaluated(make_model(), tokenizer, importance_samples=3)


def test_a_config_is_what_its_options_are(make_model, tokenizer):
    options = {"num_importance_samples": 3, "max_new_tokens": 5, "num_prior_samples": 2, "seed": 2}
    model = make_model("bert", "gru")
    report = evaluate(model, tokenizer, tokenized(tokenizer), EvaluationConfig(**options))
    assert report == evaluate(model, tokenizer, tokenized(tokenizer), **options)


def test_a_precision_that_there_is_not_is_refused(make_model, tokenizer):
    with pytest.raises(InputError, match="mixed_precision must be one of no, bf16, fp16, not 'bf8'"):
        evaluated(make_model(), tokenizer, mixed_precision="bf8")


def test_impossible_information_is_warned_of_and_stays_in_the_report(caplog):
    report = {"mutual_information": 3.0, "kl": 9.0}
    with caplog.at_level(logging.WARNING):
        warn_of_excess_information(report, num_texts=21, latent_size=4)  # ln 21 = 3.04
        assert caplog.messages == []
        warn_of_excess_information(report, num_texts=20, latent_size=4)
        excess = {**report, "kl": 2.0}
        warn_of_excess_information(excess, num_texts=1000, latent_size=4)
        warn_of_excess_information(excess, num_texts=1000, latent_size=4, num_labels=3)  # ln 3 = 1.10
    told = "The mutual information of 3.000 nats is above {}, its upper bound: do not trust this estimate."
    assert caplog.messages == [told.format("ln 20"), told.format("the KL")]
    assert report == {"mutual_information": 3.0, "kl": 9.0} and excess["mutual_information"] == 3.0


def test_a_report_with_impossible_information_is_given_all_the_same(make_model, tokenizer, monkeypatch, caplog):
    monkeypatch.setattr("textvae.evaluation.metrics.information_terms", lambda mean, *_: torch.full((len(mean),), 9.0))
    assert evaluated(make_model("bert", "gru"), tokenizer)["mutual_information"] == 9
    assert "9.000 nats is above ln 6, its upper bound" in caplog.text

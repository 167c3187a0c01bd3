"""The terms of a score: what adds up exactly, in one batch or many."""

import pandas
import pytest
import torch
from tiny_pipelines import LABELS, TEXTS, build, pipeline

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.objectives.terms import normal_log_density
from textvae.pipeline import TextTerms
from textvae.pipeline.draws import Draws

KINDS = [("gru", ()), ("llama", ()), ("gru", LABELS), ("llama", LABELS)]
OWN = [LABELS[0], LABELS[1], LABELS[1], LABELS[0]]


@pytest.fixture(params=KINDS, ids=str)
def case(request):
    """A pipeline, and the arguments of its verbs."""
    decoder, labels = request.param
    return pipeline(decoder, labels), {"label": OWN} if labels else {}


def test_the_terms_add_up(case):
    vae, options = case
    for one in vae.score(TEXTS, return_tokens=True, num_samples=3, **options):
        assert one.negative_elbo == pytest.approx(one.reconstruction + one.kl)
        assert one.reconstruction_from_mean == pytest.approx(sum(nats for _, nats in one.tokens), rel=1e-5)
        assert one.num_tokens == len(one.tokens)


def test_the_bound_is_that_of_score(case):
    vae, options = case
    terms = vae.score(TEXTS, return_terms=True, num_samples=3, **options)
    assert [one.bound for one in terms] == vae.score(TEXTS, num_samples=3, **options)
    assert {one.tokens for one in terms} == {None}


def test_the_bound_of_one_sample_is_the_negative_elbo_of_the_same_draw(case):
    """Its KL is that of the draw, log q(z|x) − log p(z), whose mean is the KL."""
    vae, options = case
    terms = vae.score(TEXTS, num_samples=1, return_terms=True, seed=5, **options)
    read = vae.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    ids = None if not options else torch.tensor([vae.model.config.label_names.index(name) for name in OWN])
    with torch.no_grad():
        mean, logvar = vae.model.posterior_parameters(read["input_ids"], read["attention_mask"], ids)
        z = mean + (logvar / 2).exp() * Draws(5, torch.device("cpu")).noise(1, 1, 3)[0]
        prior = vae.model.prior_parameters(ids)
        sampled_kl = normal_log_density(z, mean, logvar) - normal_log_density(z, *prior)
    for one, kl in zip(terms, sampled_kl.tolist(), strict=True):
        assert one.bound == pytest.approx(one.negative_elbo - one.kl + kl, rel=1e-5)


def test_they_are_those_of_the_model(case):
    vae, options = case
    read = vae.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    ids = None if not options else torch.tensor([vae.model.config.label_names.index(name) for name in OWN])
    with torch.no_grad():
        mean, _ = vae.model.posterior_parameters(read["input_ids"], read["attention_mask"], ids)
        output = vae.model(read["input_ids"], read["attention_mask"], latents=mean, label_ids=ids)
    terms = vae.score(TEXTS, num_samples=1, return_terms=True, **options)
    assert [one.reconstruction_from_mean for one in terms] == pytest.approx(output.reconstruction.tolist(), rel=1e-5)
    assert [one.kl for one in terms] == pytest.approx(output.kl.sum(-1).tolist(), rel=1e-5)


def test_batch_size_and_the_other_texts_change_nothing(case):
    vae, options = case
    whole = vae.score(TEXTS, num_samples=3, return_terms=True, **options)
    small = vae.score(TEXTS, num_samples=3, return_terms=True, batch_size=1, **options)
    alone = vae.score(TEXTS[1], num_samples=3, return_terms=True, label=OWN[1] if options else None)
    for one, other in zip([*whole, whole[1]], [*small, alone], strict=True):
        assert one[:-1] == pytest.approx(other[:-1], rel=1e-4)


def test_tokens_are_written_as_they_are():
    (one,) = build().score(["pizza and not"], return_tokens=True, num_samples=1)
    assert [token for token, _ in one.tokens] == ["pizza", "and", "not", "</s>"]
    assert build().score([], return_terms=True) == []
    assert isinstance(build().score("pizza", return_terms=True, num_samples=1), TextTerms)


def test_they_make_a_table():
    table = pandas.DataFrame(build().score(TEXTS, return_terms=True, num_samples=2))
    assert list(table.columns) == list(TextTerms._fields) and len(table) == len(TEXTS)


def test_without_z_all_bounds_are_equal():
    tiny = build()
    settings = tiny.model.config.to_dict() | {"latent_injection": "none"}
    language_model = TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)), tiny.tokenizer)
    for one in language_model.score(TEXTS, return_terms=True, num_samples=4):
        assert one.kl == 0
        expected = [one.reconstruction] * 3
        assert [one.negative_elbo, one.reconstruction_from_mean, one.bound] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["return_terms", "return_tokens"])
def test_another_type_is_refused(name):
    with pytest.raises(InputError, match=name):
        build().score(TEXTS, **{name: "yes"})

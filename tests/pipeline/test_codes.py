"""z and the texts of z: standard deviations of the one, log-likelihoods of the other, by teacher forcing."""

import pytest
import torch
from tiny_pipelines import LABELS, TEXTS, build, pipeline

from textvae import InputError
from textvae.data.padding import padded_batch
from textvae.data.special_tokens import IGNORED
from textvae.pipeline import Codec
from textvae.pipeline.score import log_likelihoods

KINDS = [("gru", ()), ("llama", ()), ("gru", LABELS), ("llama", LABELS)]
SCORES = {"one": {}, "candidates": {"num_candidates": 2}, "several": {"num_beams": 2, "num_return_sequences": 2}}


@pytest.fixture(params=KINDS, ids=str)
def case(request):
    """A pipeline, and the arguments of its verbs."""
    decoder, labels = request.param
    return pipeline(decoder, labels), {"label": LABELS[1]} if labels else {}


def test_encode_gives_standard_deviations_beside_z(case):
    vae, options = case
    z, std = vae.encode(TEXTS, return_std=True, **options)
    assert torch.equal(z, vae.encode(TEXTS, **options)) and z.shape == std.shape and (std > 0).all()
    drawn, same = vae.encode(TEXTS, sample=True, seed=1, return_std=True, **options)
    assert torch.equal(same, std) and torch.equal(drawn, vae.encode(TEXTS, sample=True, seed=1, **options))
    one, one_std = vae.encode(TEXTS[1], return_std=True, **options)
    torch.testing.assert_close(torch.stack([one, one_std]), torch.stack([z[1], std[1]]))


@pytest.mark.parametrize("kind", SCORES)
def test_the_scores_of_decode_are_those_of_teacher_forcing(case, kind):
    vae, options = case
    z, controls = 2 * vae.encode(TEXTS, **options), SCORES[kind]
    found = vae.decode(z, return_scores=True, batch_size=3, **controls, **options)
    pairs = [[own] if isinstance(own, tuple) else own for own in found]
    texts = [[text for text, _ in own] for own in pairs]
    assert (texts if kind == "several" else [own[0] for own in texts]) == vae.decode(z, **controls, **options)
    for code, own in zip(z, pairs, strict=True):
        for text, nats in own:
            assert nats == pytest.approx(teacher_forced(vae, code, text, bool(options)), rel=1e-4)


def teacher_forced(vae, z: torch.Tensor, text: str, has_label: bool) -> float:
    ids = vae.tokenizer(text)["input_ids"][: vae.max_length]
    ids[-1] = vae.tokenizer.eos_token_id
    labels, _ = padded_batch([ids], IGNORED)
    with torch.no_grad():
        given = {"label_ids": torch.tensor([1])} if has_label else {}
        read = torch.tensor([ids])
        output = vae.model(read, torch.ones_like(read), labels=labels, latents=z[None], **given)
    return -float(output.reconstruction)


def test_the_likelihood_of_a_text_given_its_own_z_is_the_term_of_score(case):
    vae, options = case
    ids = [1] * len(TEXTS) if options else None
    found = log_likelihoods(
        Codec(vae.model, vae.tokenizers), [[text] for text in TEXTS], vae.encode(TEXTS, **options), ids
    )
    terms = vae.score(TEXTS, return_terms=True, num_samples=1, **options)
    assert [-float(own) for own in found] == pytest.approx([one.reconstruction_from_mean for one in terms], rel=1e-5)
    assert vae.decode([], return_scores=True, **options) == []


@pytest.mark.parametrize(("verb", "name"), [("encode", "return_std"), ("decode", "return_scores")])
def test_another_type_is_refused(verb, name):
    with pytest.raises(InputError, match=name):
        getattr(build(), verb)([], **{name: "yes"})

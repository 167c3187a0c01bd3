"""Round trip: of several candidates the one that is read back nearest; beams by default where texts are made up."""

import pytest
import torch
from tiny_pipelines import LABELS, LATENT_SIZE, TEXTS, build, pipeline
from transformers import GenerationConfig

from textvae import InputError
from textvae.pipeline.codec import Codec
from textvae.pipeline.draws import Draws


def latents(count=12):
    return 3 * torch.randn(count, LATENT_SIZE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("decoder", ["gru", "llama"])
@pytest.mark.parametrize("label", [None, "sunny"])
def test_the_candidate_that_is_read_back_nearest_is_kept(decoder, label):
    vae, z = pipeline(decoder, LABELS if label else ()), latents()
    beams = vae.decode(z, num_beams=4, num_return_sequences=4, label=label)
    codec, expected = Codec(vae.model, vae.tokenizers), []
    for one, texts in zip(z, beams, strict=True):
        means, _ = codec.posteriors(codec.tokenize(texts, codec.label_ids(label, len(texts))))
        expected.append(texts[int((means - one).norm(dim=1).argmin())])
    assert expected != [texts[0] for texts in beams]  # it is not just the best beam
    assert vae.decode(z, num_candidates=4, label=label) == expected
    assert vae.decode(z, num_candidates=4, label=label, batch_size=2) == expected
    assert vae.decode(z[0], num_candidates=4, label=label) == expected[0]


def test_every_verb_that_writes_takes_candidates():
    vae = pipeline()
    means = vae.encode(TEXTS)
    assert vae.reconstruct(TEXTS, num_candidates=3) == vae.decode(means, num_candidates=3)
    walk = vae.interpolate(TEXTS[0], TEXTS[1], num_steps=3, num_candidates=3)
    points = torch.stack([means[0], (means[0] + means[1]) / 2, means[1]])
    assert walk == vae.decode(points, num_candidates=3)
    z = Draws(1, torch.device("cpu")).noise(5, LATENT_SIZE)
    assert vae.sample(5, seed=1, num_candidates=3) == vae.decode(z, num_candidates=3)


def test_one_candidate_is_greedy_and_drawn_ones_can_be_had_again():
    vae, z = pipeline(), latents()
    assert vae.decode(z, num_candidates=1) == vae.decode(z)
    drawn = vae.decode(z, num_candidates=4, do_sample=True, seed=5)
    assert drawn == vae.decode(z, num_candidates=4, do_sample=True, seed=5)
    assert vae.decode(z[:0], num_candidates=4) == []


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"num_candidates": 0}, "num_candidates is 0"),
        ({"num_candidates": 2.5}, "num_candidates"),
        ({"num_candidates": 4, "num_return_sequences": 2}, "leave it or num_return_sequences out"),
    ],
)
def test_what_cannot_be_is_refused(controls, words):
    with pytest.raises(InputError, match=words):
        pipeline().decode(latents(), **controls)


def test_samples_and_paraphrases_are_written_with_beams_unless_told_otherwise():
    vae = build()
    assert vae.sample(6, seed=0) == vae.sample(6, seed=0, num_beams=4)
    z = Draws(0, torch.device("cpu")).noise(6, LATENT_SIZE)
    assert vae.sample(6, seed=0, num_beams=1) == vae.decode(z)
    assert vae.sample(6, seed=0, generation_config=GenerationConfig(num_beams=2)) == vae.decode(z, num_beams=2)
    assert vae.paraphrase(TEXTS, seed=0) == vae.paraphrase(TEXTS, seed=0, num_beams=4)
    vae.model.generation_config.num_beams = 3  # what a saved model says for itself
    assert vae.sample(6, seed=0) == vae.decode(z, num_beams=3)

"""Seeds: the numbers of torch's own generator with that seed, and the same in a thread among others as alone."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_pipelines import LATENT_SIZE, TEXTS, pipeline

from textvae.pipeline.draws import Draws

WORDS = {"do_sample": True, "batch_size": 3, "max_new_tokens": 3}
FEW = {"num_return_sequences": 2, "num_candidates": 3}
CALLS = {
    "encode": lambda vae, seed: vae.encode(TEXTS, sample=True, seed=seed).tolist(),
    "decode": lambda vae, seed: vae.decode(torch.zeros(6, LATENT_SIZE), seed=seed, **WORDS),
    "reconstruct": lambda vae, seed: vae.reconstruct(TEXTS, seed=seed, **WORDS),
    "sample": lambda vae, seed: vae.sample(6, seed=seed),
    "sample words": lambda vae, seed: vae.sample(6, seed=seed, **WORDS),
    "sample beams": lambda vae, seed: vae.sample(6, seed=seed, num_beams=2, **WORDS),
    "interpolate": lambda vae, seed: vae.interpolate(*TEXTS[:2], 5, seed=seed, **WORDS),
    "paraphrase": lambda vae, seed: vae.paraphrase(TEXTS[:2], seed=seed, **FEW),
    "paraphrase words": lambda vae, seed: vae.paraphrase(TEXTS[0], seed=seed, **FEW, **WORDS),
    "score": lambda vae, seed: vae.score(TEXTS, 5, seed=seed),
}


@pytest.fixture
def restless():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("name", CALLS)
def test_a_seed_means_the_same_among_threads_as_alone(restless, name):
    vae, call = pipeline(), CALLS[name]
    alone = [call(vae, seed) for seed in range(4)]
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: call(vae, seed), [*range(4), *range(4)]))
    assert together == alone * 2
    assert torch.equal(torch.get_rng_state(), state)
    with ThreadPoolExecutor(4) as pool:
        mixed = list(pool.map(lambda seed: call(vae, seed), [0, None, 1, None, 2, None, 3, None]))
    assert mixed[::2] == alone


def test_without_a_seed_threads_draw_different_numbers():
    vae = pipeline()
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: vae.encode(TEXTS, sample=True), range(8)))
    assert len({tuple(each.flatten().tolist()) for each in codes}) == 8


def test_a_seed_gives_the_numbers_of_torchs_own_generator():
    for call in CALLS.values():
        torch.manual_seed(5)
        assert call(pipeline(), None) == call(pipeline(), 5)


@pytest.mark.parametrize("size", [(3,), (16,), (64,), (2, 5, 7)])
def test_rows_of_noise_do_not_depend_on_how_many_are_drawn_at_once(size):
    whole = Draws(8, torch.device("cpu")).noise(41, *size)
    draws = Draws(8, torch.device("cpu"))
    assert torch.equal(torch.cat([draws.noise(count, *size) for count in (1, 2, 37, 1)]), whole)
    assert whole.std().item() == pytest.approx(1, abs=0.3) and len(whole.unique()) == whole.numel()


def test_paraphrases_of_a_text_do_not_depend_on_the_texts_after_it():
    vae = pipeline()
    assert vae.paraphrase(TEXTS, seed=1, **FEW)[:1] == vae.paraphrase(TEXTS[:1], seed=1, **FEW)

"""Walks, measured: by hand on texts whose embeddings are known, in any number, and what is refused."""

import math

import pytest
import torch
from tiny_runs import SENTENCES, save_encoder

from textvae.errors import InputError
from textvae.evaluation.judges import SentenceEncoder
from textvae.evaluation.walks import measure_walks, walk_terms

A, B, C = SENTENCES[0], SENTENCES[70], SENTENCES[150]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return SentenceEncoder(save_encoder(tmp_path_factory.mktemp("encoder")), torch.device("cpu"))


@pytest.fixture(scope="module")
def cosine(encoder):
    """(text, text) → the cosine of their embeddings."""
    return lambda one, other: float(encoder.embed([one])[0] @ encoder.embed([other])[0])


def test_the_terms_are_those_of_the_definitions(encoder, cosine):
    terms = walk_terms([[A, A, B, C], [B, C]], [A, A], [C, C], encoder)
    steps = [0, 1 - cosine(A, B), 1 - cosine(B, C)]
    expected = {
        "walk_mean_step": [sum(steps) / 3, steps[2]],
        "walk_worst_step": [max(steps), steps[2]],
        "walk_ends": [1, (cosine(A, B) + 1) / 2],
        "walk_distinct": [3 / 4, 1],
    }
    assert terms.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(terms[name], torch.tensor(values), rtol=1e-4, atol=1e-5)


def test_a_report_holds_means_and_their_errors(encoder):
    walks, starts, ends = [[A, B], [B, C, A], [C, C]], [A, B, C], [B, A, C]
    terms, report = walk_terms(walks, starts, ends, encoder), measure_walks(walks, starts, ends, encoder)
    for name, values in terms.items():
        assert report[name] == pytest.approx(float(values.mean()), abs=1e-6)
        assert report[f"{name}_standard_error"] == pytest.approx(float(values.std()) / math.sqrt(3), abs=1e-6)


def test_a_walk_on_the_spot_has_no_step(encoder):
    report = measure_walks([[A, A, A]] * 2, [A, A], [A, A], encoder)
    assert report["walk_mean_step"] == pytest.approx(0, abs=1e-6) and report["walk_ends"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("walks", [[], [[A]], [[A, B], [A, B]]])
def test_what_is_no_walk_is_refused(encoder, walks):
    with pytest.raises(InputError, match="Walks are measured"):
        walk_terms(walks, [A][: len(walks)], [B], encoder)

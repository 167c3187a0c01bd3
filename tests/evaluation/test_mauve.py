"""MAUVE: its area against an integral, and what is near and far."""

import numpy as np
import pytest
import torch

from textvae.errors import InputError
from textvae.evaluation.mauve import area_under_divergence_curve, mauve

pytest.importorskip("sklearn")
GENERATOR = torch.Generator().manual_seed(0)
ONE, OTHER, ALONE = (torch.randn(100, 8, generator=GENERATOR) for _ in range(3))


def test_the_area_is_that_of_the_curve():
    """Of two histograms that share nothing, KL(P ‖ R) is −ln λ: the area is ∫ λ⁵ d(1 − λ)⁵ = 5 · 5! 4! / 10!."""
    apart = np.array([0.3, 0.7, 0, 0]), np.array([0, 0, 0.5, 0.5])
    assert area_under_divergence_curve(*apart) == pytest.approx(5 * 120 * 24 / 3_628_800, rel=0.05)
    p, q = np.random.default_rng(0).dirichlet(np.ones(20), 2)
    assert area_under_divergence_curve(p, p) == pytest.approx(1)
    assert area_under_divergence_curve(p, q) == pytest.approx(area_under_divergence_curve(q, p))
    assert area_under_divergence_curve(p, q) < area_under_divergence_curve(p, (p + q) / 2) < 1


def test_it_falls_from_one_as_two_sets_part():
    values = [mauve(ONE, ONE), mauve(ONE, OTHER), mauve(ONE, OTHER + 0.7), mauve(ONE, OTHER + 9)]
    assert values[0] == pytest.approx(1) and values[3] < 0.01
    assert all(nearer > farther + 0.05 for nearer, farther in zip(values, values[1:], strict=False))


def test_one_text_that_is_written_again_and_again_is_far_from_many():
    assert mauve(ALONE[:1].expand(100, -1), ONE) < 0.1


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.filterwarnings("error")
def test_few_and_equal_points_have_a_value(number):
    same = torch.ones(number, 4)
    assert mauve(same, same) == pytest.approx(1) and 0 < mauve(ONE[:number], OTHER[:number]) < 1


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"scikit-learn: pip install 'textvae\[judge\]'"):
        mauve(ONE, OTHER)

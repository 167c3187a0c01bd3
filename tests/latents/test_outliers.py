"""Distances from usual points, and p-values among the scores of held-out texts."""

import pytest
import torch

from textvae import InputError
from textvae.latents.outliers import (
    LocalNeighbourDistance,
    MahalanobisDistance,
    NeighbourDistance,
    fisher,
    nearest,
    p_values,
)


def points(number: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, width, generator=torch.Generator().manual_seed(seed))


def test_mahalanobis_counts_standard_deviations():
    mixing = torch.tensor([[3.0, 0.0], [2.0, 0.5]])
    usual = points(20_000, 2) @ mixing.T + torch.tensor([5.0, -7.0])
    fitted = MahalanobisDistance.fit(usual)
    unit = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -2.0], [3.0, 4.0]])
    torch.testing.assert_close(
        fitted(unit @ mixing.T + torch.tensor([5.0, -7.0])), unit.norm(dim=1), atol=0.05, rtol=0.02
    )


def test_mahalanobis_does_not_depend_on_the_axes():
    usual, others = points(100, 3), points(9, 3, seed=1)
    mixing = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.5]])
    expected = MahalanobisDistance.fit(usual)(others)
    torch.testing.assert_close(MahalanobisDistance.fit(usual @ mixing)(others @ mixing), expected, rtol=1e-3, atol=0)


def test_a_dimension_that_does_not_vary_gives_a_finite_distance():
    usual = points(50, 3)
    usual[:, 1] = 4.0
    fitted = MahalanobisDistance.fit(usual)
    assert fitted(usual).isfinite().all()
    moved = usual[:1] + torch.tensor([0.0, 1.0, 0.0])
    assert fitted(moved) > 100 * fitted(usual).max()


def test_the_distance_of_neighbours_is_the_mean_of_the_five_nearest():
    usual, others = points(40, 4), points(7, 4, seed=1)
    apart = (others.unsqueeze(1) - usual).norm(dim=-1).sort(dim=1).values
    torch.testing.assert_close(NeighbourDistance.fit(usual)(others), apart[:, :5].mean(1))


def test_the_local_distance_counts_from_how_far_neighbours_are_from_theirs():
    usual, others = points(40, 4), points(7, 4, seed=1)
    own = (usual.unsqueeze(1) - usual).norm(dim=-1).fill_diagonal_(torch.inf).sort(dim=1).values[:, :20].mean(1)
    apart, rows = (others.unsqueeze(1) - usual).norm(dim=-1).sort(dim=1)
    expected = apart[:, :20].mean(1) - own[rows[:, :20]].mean(1) / 2
    torch.testing.assert_close(LocalNeighbourDistance.fit(usual)(others), expected)


def test_the_same_distance_says_less_where_usual_points_lie_far_apart():
    dense, sparse = 0.1 * points(60, 3), 2 * points(60, 3) + 50
    others = torch.stack([dense.mean(0), sparse.mean(0)]) + 3.0
    plain, local = (kind.fit(torch.cat([dense, sparse])) for kind in (NeighbourDistance, LocalNeighbourDistance))
    more, less = local(others) - plain(others)
    assert more > less


def test_points_are_nearest_to_themselves_however_far_they_lie():
    usual = 1000 + points(40, 4)
    distances, rows = nearest(usual, usual.repeat(3, 1), 3)
    assert distances.eq(0).all()
    assert (rows % 40).eq(torch.arange(40).unsqueeze(1)).all()


@pytest.mark.parametrize("kind", [NeighbourDistance, LocalNeighbourDistance])
def test_chunks_change_no_distance(monkeypatch, kind):
    usual, others = points(40, 4), points(23, 4, seed=1)
    expected = kind.fit(usual)(others)
    monkeypatch.setattr("textvae.latents.outliers.AT_ONCE", 100)
    torch.testing.assert_close(kind.fit(usual)(others), expected)


@pytest.mark.parametrize(
    ("kind", "number"), [(MahalanobisDistance, 4), (NeighbourDistance, 5), (LocalNeighbourDistance, 20)]
)
def test_too_few_points_are_refused(kind, number):
    with pytest.raises(InputError, match=f"there are {number}"):
        kind.fit(points(number, 4))
    assert kind.fit(points(number + 1, 4))(points(2, 4)).shape == (2,)


def test_p_values_count_the_held_out_scores_at_least_as_high():
    held_out = torch.tensor([[3.0, 0.0], [1.0, 0.0], [2.0, 5.0], [2.0, 1.0]])
    scores = torch.tensor([[4.0, 0.0], [2.0, 0.5], [0.0, 9.0]])
    torch.testing.assert_close(p_values(scores, held_out), torch.tensor([[0.2, 1.0], [0.8, 0.6], [1.0, 0.2]]))


def test_p_values_of_usual_texts_are_uniform():
    held_out, scores = points(999, 1), points(20_000, 1, seed=1)
    p = p_values(scores, held_out)[:, 0]
    for level in (0.05, 0.25, 0.5, 0.9):
        assert abs(float((p <= level).float().mean()) - level) < 0.03
    own = p_values(held_out, held_out)[:, 0] - 1 / 1000  # without the text itself
    torch.testing.assert_close(own.sort().values, torch.arange(1, 1000) / 1000)


def test_fisher_adds_logarithms():
    p = torch.tensor([[0.1, 0.5], [1.0, 1.0]])
    torch.testing.assert_close(fisher(p), torch.tensor([-2 * torch.tensor(0.05).log(), 0.0]))

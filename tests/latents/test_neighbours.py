"""Neighbours by cosine, in an exact index; and pairs: each point with its nearest, no pair twice, within a group."""

import pytest
import torch

from textvae import InputError
from textvae.latents import VectorIndex
from textvae.latents.neighbours import neighbour_pairs

POINTS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


def test_each_point_comes_first_once_with_the_nearest_that_is_left_and_no_pair_comes_twice():
    pairs = neighbour_pairs(POINTS).tolist()
    assert [first for first, _ in pairs] == list(range(40))
    assert len({frozenset(pair) for pair in pairs}) == 40 and all(first != other for first, other in pairs)
    made, second_best = set(), 0
    for first, other in pairs:
        distances = (POINTS - POINTS[first]).norm(dim=1)
        left = [i for i in range(40) if i != first and frozenset((first, i)) not in made]
        assert distances[other] == distances[left].min()
        second_best += other != distances.topk(2, largest=False).indices[1]
        made.add(frozenset((first, other)))
    assert 0 < second_best < 20  # of two that are nearest to each other, the second looks further


def test_neighbours_are_of_the_same_group_unless_a_point_is_alone_in_its_own():
    groups = torch.tensor([0, 1] * 19 + [0, 2])
    pairs = neighbour_pairs(POINTS, groups).tolist()
    assert all(groups[first] == groups[other] for first, other in pairs[:-1]) and pairs[-1][1] != 39


def test_two_points_are_neighbours():
    assert sorted(map(sorted, neighbour_pairs(POINTS[:2]).tolist()))[-1] == [0, 1]


@pytest.fixture(scope="module")
def index():
    pytest.importorskip("faiss")
    return VectorIndex.fit(POINTS)


def test_the_search_is_exact_whatever_the_length_of_a_vector(index, tmp_path):
    others = 5 * torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    expected = torch.cosine_similarity(others.unsqueeze(1), POINTS, dim=2).sort(dim=1, descending=True)
    index.save(tmp_path / "index")
    in_parts = VectorIndex.empty(3)
    for part in POINTS.split(9):
        in_parts.add(100 * part)
    for own in (index, in_parts, VectorIndex.load(tmp_path / "index")):
        cosines, rows = own.nearest(others, 40)
        torch.testing.assert_close(cosines, expected.values)
        assert torch.equal(rows, expected.indices)
        assert torch.equal(own.nearest(others, 3)[1], rows[:, :3])


def test_a_point_is_its_own_neighbour_and_the_origin_has_none(index):
    cosines, rows = index.nearest(POINTS, 1)
    assert torch.equal(rows[:, 0], torch.arange(40)) and (cosines <= 1).all()
    torch.testing.assert_close(cosines, torch.ones(40, 1))
    assert (index.nearest(torch.zeros(1, 3), 5)[0] == 0).all()
    assert index.nearest(POINTS, 99)[1].shape == (40, 40)
    assert index.nearest(POINTS[:0], 2)[1].shape == (0, 2)


def test_what_is_no_vector_of_the_index_is_refused(index, tmp_path, monkeypatch):
    for verb in (index.add, lambda points: index.nearest(points, 2)):
        with pytest.raises(InputError, match="not finite"):
            verb(torch.full((2, 3), torch.nan))
        with pytest.raises(InputError, match=r"\(N, 3\), not \(40, 2\)"):
            verb(POINTS[:, :2])
    (tmp_path / "index").write_bytes(b"nothing")
    with pytest.raises(InputError, match="holds no vectors"):
        VectorIndex.load(tmp_path / "index")
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package faiss-cpu: pip install 'textvae\[search\]'"):
        VectorIndex.empty(3)

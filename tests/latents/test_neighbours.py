"""Pairs of neighbours: each point with its nearest, no pair twice, within a group where there are groups."""

import torch

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

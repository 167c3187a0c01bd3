import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from textvae.errors import InputError
from textvae.latents.paths import interpolate

PATHS = ["linear", "spherical"]


@pytest.fixture
def ends():
    """(start, end), each (N, Z) = (4, 6)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 6, generator=generator), 3 * torch.randn(4, 6, generator=generator)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("num_steps", [2, 3, 7])
def test_both_ends_are_included_exactly(ends, path, num_steps):
    points = interpolate(*ends, num_steps=num_steps, path=path)
    assert points.shape == (4, num_steps, 6)
    assert torch.equal(points[:, 0], ends[0]) and torch.equal(points[:, -1], ends[1])


@pytest.mark.parametrize("path", PATHS)
def test_many_ways_at_once_equal_each_alone(ends, path):
    alone = torch.stack([interpolate(start, end, path=path) for start, end in zip(*ends, strict=True)])
    torch.testing.assert_close(interpolate(*ends, path=path), alone)


@pytest.mark.parametrize("path", PATHS)
def test_the_way_back_is_the_way_there_reversed(ends, path):
    there, back = interpolate(*ends, path=path), interpolate(*reversed(ends), path=path)
    torch.testing.assert_close(back.flip(1), there)


def test_linear_steps_are_equal(ends):
    steps = interpolate(*ends, num_steps=5).diff(dim=1)
    torch.testing.assert_close(steps, ((ends[1] - ends[0]) / 4)[:, None].expand(-1, 4, -1))


def test_spherical_turns_evenly_while_the_norm_goes_linearly(ends):
    start, end = (tensor.double() for tensor in ends)
    points = interpolate(start, end, num_steps=5, path="spherical")
    weights = torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(
        points.norm(dim=-1), torch.lerp(start.norm(dim=-1)[:, None], end.norm(dim=-1)[:, None], weights)
    )
    angles = torch.acos(cosine_similarity(points[:, :-1], points[:, 1:], dim=-1))
    whole = torch.acos(cosine_similarity(start, end, dim=-1))
    torch.testing.assert_close(angles, (whole / 4)[:, None].expand(-1, 4))


def test_spherical_equals_the_textbook_slerp(ends):
    start, end = (tensor / tensor.norm(dim=-1, keepdim=True) for tensor in ends)
    angle = torch.acos((start * end).sum(-1, keepdim=True))
    expected = (torch.sin(0.75 * angle) * start + torch.sin(0.25 * angle) * end) / torch.sin(angle)
    torch.testing.assert_close(interpolate(start, end, num_steps=5, path="spherical")[:, 1], expected)


@pytest.mark.parametrize("tilt", [0.0, 1e-6, 1e-4])
def test_spherical_of_nearly_parallel_vectors_is_linear(tilt):
    start = torch.tensor([1.0, 2.0, 3.0])
    end = 2 * start + tilt * torch.tensor([3.0, 0.0, -1.0])
    torch.testing.assert_close(interpolate(start, end, path="spherical"), interpolate(start, end), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tilt", [0.0, 1e-7, 1e-4, 1e-3])
@pytest.mark.parametrize("start", [[0.0, 3.0, -4.0], [0.0, 0.0, 5.0], [3.0, 4.0, 0.0]])
def test_spherical_of_opposite_vectors_goes_round_and_not_through_the_origin(start, tilt):
    start = torch.tensor(start)
    points = interpolate(start, -start + tilt, num_steps=5, path="spherical")
    torch.testing.assert_close(points.norm(dim=-1), torch.full((5,), 5.0), rtol=1e-3, atol=0)
    angles = torch.acos(cosine_similarity(points[:-1], points[1:], dim=-1))
    torch.testing.assert_close(angles, torch.full((4,), math.pi / 4), rtol=2e-3, atol=0)


@pytest.mark.parametrize("path", PATHS)
def test_a_zero_vector_is_reached_straight(path):
    zero, end = torch.zeros(3), torch.tensor([1.0, -2.0, 4.0])
    expected = torch.linspace(0, 1, 7)[:, None] * end
    torch.testing.assert_close(interpolate(zero, end, path=path), expected)
    torch.testing.assert_close(interpolate(end, zero, path=path), expected.flip(0))
    assert torch.equal(interpolate(zero, zero, path=path), torch.zeros(7, 3))


def test_spherical_in_one_dimension_is_finite():
    assert interpolate(torch.tensor([2.0]), torch.tensor([-2.0]), path="spherical").isfinite().all()


def test_wrong_arguments_are_named():
    start, end = torch.zeros(3), torch.ones(3)
    for num_steps in (1, 0, -3):
        with pytest.raises(InputError, match="num_steps is .*, it must be at least 2"):
            interpolate(start, end, num_steps=num_steps)
    with pytest.raises(InputError, match="'linear' or 'spherical', not 'sphere'"):
        interpolate(start, end, path="sphere")
    with pytest.raises(InputError, match=r"not \(3,\) and \(2,\)"):
        interpolate(start, torch.ones(2))

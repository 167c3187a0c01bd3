"""Paths between points of the latent space.

N paths · Z latent_size
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from textvae.config_fields import Range, whole
from textvae.errors import InputError, shown

_STEPS = Range("at least 2, since both ends are included", lambda value: value >= 2)


def interpolate(start: Tensor, end: Tensor, num_steps: int = 7, path: str = "linear") -> Tensor:
    """Equally spaced points from `start` to `end`; the first and the last are exactly `start` and `end`.

    - `linear`: along the straight line.
    - `spherical`: along the great circle (slerp, White 2016); the norm is interpolated linearly. It is the straight
      line if the two directions are (nearly) equal or one vector is zero. Between opposite directions all great
      circles are equally short, and it takes a fixed one.

    Args:
        start, end: (Z,), or (N, Z) for N paths at once.
        num_steps: number of points, both ends included, at least 2.

    Returns:
        (num_steps, Z), or (N, num_steps, Z).

    Raises:
        InputError: if `path` is unknown, `num_steps` is below 2, or the shapes differ.
    """
    num_steps = check_path(num_steps, path)
    if start.shape != end.shape:
        raise InputError(f"start and end must have the same shape, not {tuple(start.shape)} and {tuple(end.shape)}.")
    weights = torch.linspace(0, 1, num_steps, dtype=start.dtype, device=start.device)[:, None]  # (num_steps, 1)
    start, end = start.unsqueeze(-2), end.unsqueeze(-2)  # (..., 1, Z)
    points = (_linear if path == "linear" else _spherical)(start, end, weights[1:-1])
    return torch.cat([start, points, end], dim=-2)


def check_path(num_steps: int, path: str) -> int:
    """The number of points; raises InputError if it is below 2 or no whole number, or `path` is unknown."""
    if not isinstance(path, str) or path not in ("linear", "spherical"):
        raise InputError(f"path must be 'linear' or 'spherical', not {shown(path)}.")
    return whole("num_steps", num_steps, _STEPS)


def _linear(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    return torch.lerp(start, end, weights)


def _spherical(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Slerp as a rotation in the plane of `start` and of the component of `end` that is orthogonal to it."""
    from_direction, to_direction = normalize(start, dim=-1), normalize(end, dim=-1)
    cosine = (from_direction * to_direction).sum(-1, keepdim=True)
    across = to_direction - cosine * from_direction
    sine = across.norm(dim=-1, keepdim=True)
    # Below this threshold `across` is mostly rounding error.
    aligned = sine < torch.finfo(start.dtype).eps ** 0.5
    across = torch.where(aligned, _any_orthogonal(from_direction), across)
    angle = torch.atan2(sine, cosine) * weights
    direction = torch.cos(angle) * from_direction + torch.sin(angle) * normalize(across, dim=-1)
    norm = torch.lerp(start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True), weights)
    straight = (aligned & (cosine >= 0)) | (from_direction == 0).all(-1, keepdim=True)
    return torch.where(straight, _linear(start, end, weights), norm * direction)


def _any_orthogonal(direction: Tensor) -> Tensor:
    """A vector orthogonal to each unit vector, not normalised: (..., Z) -> (..., Z).

    The axis that is closest to orthogonal, without its component along the unit vector.
    """
    axis = one_hot(direction.abs().argmin(-1), direction.shape[-1]).to(direction.dtype)
    return axis - (axis * direction).sum(-1, keepdim=True) * direction

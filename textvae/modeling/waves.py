"""Position waves: how pooling and injection tell the positions of a text apart.

B batch · T length · W waves · F = 2 W + 1 features · H size of the states
"""

import math

import torch
from torch import Tensor

SHORTEST, LONGEST = 3.5, 96.0  # wavelengths in tokens


def num_features(num_waves: int) -> int:
    """F: a constant, and sine and cosine of each wave."""
    return 2 * num_waves + 1


def position_features(start: int, length: int, num_waves: int, like: Tensor) -> Tensor:
    """The features of the positions `start` … `start + length - 1`: (T, F), each row of norm 1.

    Wavelengths grow geometrically, as in Vaswani et al. 2017, section 3.5. A shift of all positions is a linear map of
    the features, so it does not matter from where they are counted.

    Args:
        like: gives device and dtype.
    """
    ratio = (LONGEST / SHORTEST) ** (1 / max(1, num_waves - 1))
    lengths = SHORTEST * ratio ** torch.arange(num_waves, device=like.device)
    positions = torch.arange(start, start + length, device=like.device).unsqueeze(1)
    angles = 2 * math.pi * positions / lengths  # (T, W)
    constant = torch.ones_like(angles[:, :1]) if num_waves else torch.ones(length, 1, device=like.device)
    features = torch.cat([constant, math.sqrt(2) * angles.sin(), math.sqrt(2) * angles.cos()], dim=1)
    return (features / math.sqrt(num_features(num_waves))).to(like.dtype)


def pooled_by_position(states: Tensor, mask: Tensor, num_waves: int) -> Tensor:
    """Σ_t features(t) ⊗ state_t / √T of each text: (B, F · H); position and state stay bound to each other.

    What a discrete cosine transform keeps of a sequence of vectors (Almarwani et al. 2019), at fixed wavelengths.

    Args:
        states: (B, T, H).
        mask: (B, T), 0 at padding.
    """
    features = position_features(0, states.shape[1], num_waves, states)
    real = states.masked_fill(~mask.bool().unsqueeze(-1), 0)
    lengths = mask.sum(1, keepdim=True).to(states.dtype)
    return torch.einsum("bth,tf->bfh", real, features).flatten(1) / lengths.sqrt()

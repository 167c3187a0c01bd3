"""Nearest neighbours among points of the latent space.

N points · Z latent_size
"""

import torch
from torch import Tensor


def neighbour_pairs(latents: Tensor, groups: Tensor | None = None) -> Tensor:
    """Each point with the nearest point that it does not make a pair with yet, so that no pair comes twice: (N, 2).

    Args:
        latents: (N, Z), at least two points; their distance is Euclidean.
        groups: (N,), numbers; a point of another group is farther than all of its own.
    """
    distances = torch.cdist(latents.double(), latents.double(), compute_mode="donot_use_mm_for_euclid_dist")
    if groups is not None:
        distances += (groups[:, None] != groups) * (1 + distances.max())
    distances.fill_diagonal_(torch.inf)
    pairs = []
    for point in range(len(latents)):
        nearest = int(distances[point].argmin())
        distances[point, nearest] = distances[nearest, point] = torch.inf
        pairs.append((point, nearest))
    return torch.tensor(pairs)

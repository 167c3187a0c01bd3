"""How far points are from usual ones, and how rare a score is among those of usual texts.

N points or texts · M usual points · D dimensions · n usual texts that were held out · S scores of each
"""

import torch
from torch import Tensor

from textvae.errors import InputError

AT_ONCE = 2**24  # numbers in memory: 64 MB in fp32


class MahalanobisDistance:
    """The distance from the mean of usual points, in standard deviations along each axis of their covariance.

    Mahalanobis 1936; for outliers among the states of a network Lee et al. 2018, here without classes.

    Attributes:
        mean: (D,).
        scale: (D, D), lower triangular; the covariance is scale · scaleᵀ.
    """

    def __init__(self, mean: Tensor, scale: Tensor):
        self.mean, self.scale = mean, scale

    @classmethod
    def fit(cls, points: Tensor) -> "MahalanobisDistance":
        """The distance from these usual points (M, D).

        Raises:
            InputError: if there are no more points than dimensions, whose covariance has no inverse.
        """
        if len(points) <= points.shape[1]:
            raise InputError(
                f"A Mahalanobis distance in {points.shape[1]} dimensions needs more texts than that, and there are "
                f"{len(points)}: give more, or choose a score of neighbours."
            )
        covariance = torch.cov(points.double().T).reshape(points.shape[1], -1)
        ridge = 1e-6 * covariance.diagonal().mean().clamp(min=1e-12)  # for dimensions that do not vary
        scale = torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance)))
        return cls(points.mean(0), scale.float())

    def __call__(self, points: Tensor) -> Tensor:
        """The distance of each of N points: (N, D) → (N,)."""
        apart = (points - self.mean).double().T
        return torch.linalg.solve_triangular(self.scale.double(), apart, upper=False).norm(dim=0).float()

    def tensors(self) -> dict[str, Tensor]:
        """What `__init__` takes, by name."""
        return {"mean": self.mean, "scale": self.scale}


class NeighbourDistance:
    """The mean Euclidean distance from the 5 nearest usual points (Ramaswamy et al. 2000; Sun et al. 2022).

    Attributes:
        points: (M, D), the usual ones.
    """

    NEIGHBOURS = 5

    def __init__(self, points: Tensor):
        self.points = points

    @classmethod
    def fit(cls, points: Tensor) -> "NeighbourDistance":
        """The distance from these usual points (M, D); raises InputError if there are no more than 5."""
        _check_number(points, cls.NEIGHBOURS)
        return cls(points)

    def __call__(self, points: Tensor) -> Tensor:
        """The distance of each of N points: (N, D) → (N,)."""
        return nearest(points, self.points, self.NEIGHBOURS)[0].mean(1)

    def tensors(self) -> dict[str, Tensor]:
        """What `__init__` takes, by name."""
        return {"points": self.points}


class LocalNeighbourDistance:
    """The mean Euclidean distance from the 20 nearest usual points, less half of theirs from their own 20.

    What is subtracted is the idea of the local outlier factor (Breunig et al. 2000): the same distance says less where
    usual points lie far apart. 20 and the half were chosen on validation texts of CLINC150, for MiniLM.

    Attributes:
        points: (M, D), the usual ones.
        apart: (M,), the mean distance of each from the nearest others.
    """

    NEIGHBOURS = 20

    def __init__(self, points: Tensor, apart: Tensor):
        self.points, self.apart = points, apart

    @classmethod
    def fit(cls, points: Tensor) -> "LocalNeighbourDistance":
        """The distance from these usual points (M, D); raises InputError if there are no more than 20."""
        _check_number(points, cls.NEIGHBOURS)
        distances, _ = nearest(points, points, cls.NEIGHBOURS + 1)  # the first is the point itself
        return cls(points, distances[:, 1:].mean(1))

    def __call__(self, points: Tensor) -> Tensor:
        """The distance of each of N points, perhaps below 0: (N, D) → (N,)."""
        distances, rows = nearest(points, self.points, self.NEIGHBOURS)
        return distances.mean(1) - self.apart[rows].mean(1) / 2

    def tensors(self) -> dict[str, Tensor]:
        """What `__init__` takes, by name."""
        return {"points": self.points, "apart": self.apart}


def _check_number(points: Tensor, neighbours: int) -> None:
    if len(points) <= neighbours:
        raise InputError(
            f"A distance from {neighbours} neighbours needs more texts than that, and there are {len(points)}: give "
            "more."
        )


def nearest(points: Tensor, usual: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The nearest usual points (M, D) of each point (N, D): their distances, in order, and rows, both (N, number)."""
    center = usual.mean(0)  # far from 0, distances by matrix products would lose their digits
    points, usual = points - center, usual - center
    at_once = max(1, AT_ONCE // max(len(usual), number * usual.shape[1]))
    found = [_nearest_of_some(some, usual, number) for some in points.split(at_once)]
    distances, rows = (torch.cat(part) for part in zip(*found, strict=True))
    return distances, rows


def _nearest_of_some(points: Tensor, usual: Tensor, number: int) -> tuple[Tensor, Tensor]:
    rows = torch.cdist(points, usual).topk(number, largest=False).indices  # (N, number)
    exact = (points.unsqueeze(1) - usual[rows]).norm(dim=-1)
    ordered = exact.sort(dim=1)
    return ordered.values, rows.gather(1, ordered.indices)


def p_values(scores: Tensor, held_out: Tensor) -> Tensor:
    """(1 + the number of held-out scores at least as high) / (n + 1), of each score by itself: (N, S), (n, S) → (N, S).

    Under the hypothesis that a text is as usual as the held-out ones, P(p ≤ α) ≤ α for every α (Vovk et al. 2005,
    conformal prediction). The least possible one is 1 / (n + 1).
    """
    ordered = held_out.T.contiguous().sort(1).values  # (S, n)
    lower = torch.searchsorted(ordered, scores.T.contiguous())  # (S, N)
    return ((1 + len(held_out) - lower) / (1 + len(held_out))).T


def fisher(p: Tensor) -> Tensor:
    """−2 Σ ln p over the S p-values of each text, the higher the rarer (Fisher 1925): (N, S) → (N,)."""
    return -2 * p.log().sum(-1)

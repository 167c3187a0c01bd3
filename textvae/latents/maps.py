"""Maps of the latent space: z in two dimensions, to be drawn.

N points · Z latent_size
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from textvae.errors import InputError, require_extra, shown
from textvae.files import os_errors, whole_file
from textvae.latents.axes import principal_components
from textvae.latents.outliers import nearest

FEWEST = 2  # points of a map


class PCAMap:
    """The two principal components of points: the plane in which they vary most (Pearson 1901).

    Distances in the plane are those of the space, seen from one side: none is longer. A new point is placed in no time,
    and wherever others are.

    Attributes:
        mean: (Z,), of the points, which is the origin of the plane.
        axes: (2, Z), orthonormal; of each the number that is largest without its sign is positive.
        share: (2,), of the variance of the points, along each axis.
    """

    def __init__(self, mean: Tensor, axes: Tensor, share: Tensor):
        self.mean, self.axes, self.share = mean, axes, share

    @classmethod
    def fit(cls, points: Tensor) -> "PCAMap":
        """The map of these points (N, Z); of one dimension y is 0.

        Raises:
            InputError: if there are fewer than two, or one is not finite.
        """
        check_points(points, FEWEST)
        mean = points.double().mean(0)
        apart = points.double() - mean
        variances, components = principal_components(apart.T @ apart)
        axes, share = components.new_zeros(2, points.shape[1]), variances.new_zeros(2)
        axes[: len(components)] = components[:2]
        share[: len(components)] = (variances[:2] / variances.sum().clamp(min=1e-30)).clamp(0, 1)
        return cls(mean.float(), axes.float(), share.float())

    def transform(self, points: Tensor) -> Tensor:
        """x and y of each point, of those that it was fitted to or of others: (N, Z) → (N, 2).

        Raises:
            InputError: for another width than Z, or a point that is not finite.
        """
        check_points(points, 0, self.mean.shape[0])
        return ((points.double() - self.mean.double()) @ self.axes.double().T).float()

    def save(self, path: str | Path) -> None:
        """Write it to a safetensors file; raises OSError if that cannot be done, and a file there is as it was."""
        _save({"mean": self.mean, "axes": self.axes, "share": self.share}, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "PCAMap":
        """What `save` wrote; raises InputError if the file holds anything else."""
        mean, axes, share = _load(path, "mean", "axes", "share")
        if mean.dim() != 1 or axes.shape != (2, len(mean)) or share.shape != (2,):
            raise _no_map(path)
        return cls(mean, axes, share)


class UMAPMap:
    """Points laid out so that those that are near to each other in the space stay so (UMAP, McInnes et al. 2018).

    Distances between groups mean little. A new point is placed among its nearest 5 in the space: at the mean of their
    places, weighted by 1/distance. So it has its place in any company, and a point of the fit its own; those of UMAP's
    own `transform` depend on the points that are placed together.

    Attributes:
        points: (N, Z), that it was fitted to.
        places: (N, 2).
    """

    NEIGHBOURS = 15  # of the layout, UMAP's default
    OF_NEW = 5

    def __init__(self, points: Tensor, places: Tensor):
        self.points, self.places = points, places

    @classmethod
    def fit(cls, points: Tensor, seed: int = 0) -> "UMAPMap":
        """The map of these points (N, Z), with the defaults of umap-learn.

        Raises:
            InputError: if there are no more than 15, one is not finite, or umap-learn, an extra, is not installed.
        """
        check_points(points, cls.NEIGHBOURS + 1)
        require_extra("umap", "umap-learn", "map", "A map by UMAP")
        from umap import UMAP

        layout = UMAP(n_neighbors=cls.NEIGHBOURS, random_state=seed, n_jobs=1)  # a seed and several threads exclude
        return cls(points, torch.from_numpy(layout.fit_transform(points.float().numpy())))

    def transform(self, points: Tensor) -> Tensor:
        """x and y of each point: (N, Z) → (N, 2).

        Raises:
            InputError: for another width than Z, or a point that is not finite.
        """
        check_points(points, 0, self.points.shape[1])
        distances, rows = nearest(points, self.points, self.OF_NEW)
        weights = 1 / distances.clamp(min=1e-6 * float(self.points.std()))
        return (weights.unsqueeze(-1) * self.places[rows]).sum(1) / weights.sum(1, keepdim=True)

    def save(self, path: str | Path) -> None:
        """Write it to a safetensors file; raises OSError if that cannot be done, and a file there is as it was."""
        _save({"points": self.points, "places": self.places}, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "UMAPMap":
        """What `save` wrote; raises InputError if the file holds anything else."""
        points, places = _load(path, "points", "places")
        if points.dim() != 2 or places.shape != (len(points), 2) or len(points) <= cls.NEIGHBOURS:
            raise _no_map(path)
        return cls(points, places)


def check_points(points: Tensor, fewest: int, size: int | None = None) -> None:
    """Raises InputError if these are no vectors (N, Z) of finite numbers, or too few, or not of this size."""
    if points.dim() != 2 or size not in (None, points.shape[1]):
        wanted = "(N, Z)" if size is None else f"(N, {size})"
        raise InputError(
            f"The points of a map must be {wanted}, not {shown(tuple(points.shape))}: give what encode gives."
        )
    if len(points) < fewest:
        raise InputError(f"This map needs {fewest} texts, and there are {len(points)}: give more.")
    if not points.isfinite().all():
        raise InputError("A map has no place for z that are not finite: leave them out.")


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    with whole_file(path) as place, os_errors(path):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place)


def _load(path: str | Path, *names: str) -> list[Tensor]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _no_map(path) from error
    if {*tensors} != {*names} or not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise _no_map(path)
    return [tensors[name] for name in names]


def _no_map(path: str | Path) -> InputError:
    return InputError(f"{path} holds no such map: write it again.")

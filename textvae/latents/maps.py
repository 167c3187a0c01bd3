"""Maps of the latent space: z in two dimensions, to be drawn.

N points · Z latent_size
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from textvae.errors import InputError, shown

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
        variances, vectors = torch.linalg.eigh(apart.T @ apart)  # in ascending order; vectors are columns
        axes = vectors.new_zeros(2, points.shape[1])
        largest = vectors.T.flip(0)[:2]
        axes[: len(largest)] = largest * largest.gather(1, largest.abs().argmax(1, keepdim=True)).sign()
        share = variances.new_zeros(2)
        share[: len(largest)] = (variances.flip(0)[:2] / variances.sum().clamp(min=1e-30)).clamp(0, 1)
        return cls(mean.float(), axes.float(), share.float())

    def transform(self, points: Tensor) -> Tensor:
        """x and y of each point, of those that it was fitted to or of others: (N, Z) → (N, 2).

        Raises:
            InputError: for another width than Z, or a point that is not finite.
        """
        check_points(points, 0, self.mean.shape[0])
        return ((points.double() - self.mean.double()) @ self.axes.double().T).float()

    def save(self, path: Path) -> None:
        """Write it to a safetensors file."""
        tensors = {"mean": self.mean, "axes": self.axes, "share": self.share}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"map": "pca"})

    @classmethod
    def load(cls, path: str | Path) -> "PCAMap":
        """What `save` wrote; raises InputError if the file holds anything else."""
        try:
            tensors = load_file(path)
            mean, axes, share = (tensors[name] for name in ("mean", "axes", "share"))
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path} holds no map: write it again.") from error
        if mean.dim() != 1 or axes.shape != (2, len(mean)) or share.shape != (2,) or not axes.isfinite().all():
            raise InputError(f"{path} holds no map: write it again.")
        return cls(mean, axes, share)


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

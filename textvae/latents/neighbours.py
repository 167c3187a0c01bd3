"""Nearest neighbours among points of the latent space.

N points · M points of an index · Z latent_size
"""

from pathlib import Path
from typing import Any

import torch
from datasets.search import FaissIndex
from torch import Tensor
from torch.nn.functional import normalize

from textvae.errors import InputError, require_extra


class VectorIndex:
    """Points, and an exact search for those whose angle with others is least: a flat index of FAISS, by `datasets`.

    Attributes:
        index: of FAISS, over the points at length 1.
    """

    def __init__(self, index: FaissIndex):
        self.index = index

    @classmethod
    def empty(cls, size: int) -> "VectorIndex":
        """An index without points, of vectors of this size Z; raises InputError without faiss, an extra."""
        require_faiss()
        import faiss

        return cls(FaissIndex(custom_index=faiss.IndexFlat(size, faiss.METRIC_INNER_PRODUCT)))

    @classmethod
    def fit(cls, points: Tensor) -> "VectorIndex":
        """The index of these points (M, Z)."""
        own = cls.empty(points.shape[-1])
        own.add(points)
        return own

    def __len__(self) -> int:
        return self._flat.ntotal

    @property
    def size(self) -> int:
        """Z."""
        return self._flat.d

    @property
    def _flat(self) -> Any:
        return self.index.faiss_index

    def add(self, points: Tensor) -> None:
        """Add points (N, Z) behind those that are there; raises InputError if they are none."""
        self._flat.add(self._directions(points))

    def nearest(self, points: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """The nearest points of the index, the first the nearest: their cosines with each point, and their rows.

        Args:
            points: (N, Z).
            number: of neighbours; all M if there are no more.

        Returns:
            cosines and rows, both (N, number). The cosine with a point at 0 is 0.

        Raises:
            InputError: for another width than Z, or a point that is not finite.
        """
        cosines, rows = self.index.search_batch(self._directions(points), min(number, len(self)))
        return torch.from_numpy(cosines).clamp(-1, 1), torch.from_numpy(rows)

    def save(self, path: Path) -> None:
        """Write it to a file of FAISS."""
        self.index.save(path)

    @classmethod
    def load(cls, path: str | Path) -> "VectorIndex":
        """What `save` wrote; raises InputError if the file holds anything else, or without faiss."""
        require_faiss()
        try:
            return cls(FaissIndex.load(path))
        except (OSError, RuntimeError) as error:
            raise InputError(f"{path} holds no vectors: make the index anew.") from error

    def _directions(self, points: Tensor):
        """The points at length 1, as an array."""
        if points.dim() != 2 or points.shape[1] != self.size:
            raise InputError(f"The vectors of this index are (N, {self.size}), not {tuple(points.shape)}.")
        if not points.isfinite().all():
            raise InputError("Vectors that are not finite have no neighbours: leave them out.")
        return normalize(points.float(), dim=1).contiguous().numpy()


def require_faiss() -> None:
    """Raises InputError without faiss, an extra."""
    require_extra("faiss", "faiss-cpu", "search", "A search for neighbours")


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

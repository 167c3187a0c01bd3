"""Operations on latent vectors: tensors (N, Z) in, tensors out.

Nothing here knows a model or a text. What is fitted on codes goes here.
"""

from textvae.latents.axes import principal_axes
from textvae.latents.directions import Directions
from textvae.latents.maps import PCAMap, UMAPMap
from textvae.latents.neighbours import VectorIndex, neighbour_pairs
from textvae.latents.outliers import LocalNeighbourDistance, MahalanobisDistance, NeighbourDistance
from textvae.latents.paths import interpolate
from textvae.latents.priors import GaussianPrior

__all__ = [
    "Directions",
    "GaussianPrior",
    "LocalNeighbourDistance",
    "MahalanobisDistance",
    "NeighbourDistance",
    "PCAMap",
    "UMAPMap",
    "VectorIndex",
    "interpolate",
    "neighbour_pairs",
    "principal_axes",
]

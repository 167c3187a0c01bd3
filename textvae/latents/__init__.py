"""Operations on latent vectors: tensors (N, Z) in, tensors out.

Nothing here knows a model or a text. What is fitted on codes goes here.

A [`Prior`] is a density of z that is fitted to the aggregate posterior, by label for a model with labels: a
[`GaussianPrior`] by its moments, a [`MixturePrior`] by EM (scikit-learn), a [`FlowPrior`] by gradient (zuko). The last
two are judged by a tenth of the texts that is held out, and are the Gaussian where that one is best.
"""

from textvae.latents.axes import principal_axes
from textvae.latents.directions import Directions
from textvae.latents.flow import FlowPrior
from textvae.latents.maps import PCAMap, UMAPMap
from textvae.latents.mixture import MixturePrior
from textvae.latents.neighbours import VectorIndex, neighbour_pairs
from textvae.latents.outliers import LocalNeighbourDistance, MahalanobisDistance, NeighbourDistance
from textvae.latents.paths import interpolate
from textvae.latents.priors import GaussianPrior, Prior

__all__ = [
    "Directions",
    "FlowPrior",
    "GaussianPrior",
    "LocalNeighbourDistance",
    "MahalanobisDistance",
    "MixturePrior",
    "NeighbourDistance",
    "PCAMap",
    "UMAPMap",
    "VectorIndex",
    "Prior",
    "interpolate",
    "neighbour_pairs",
    "principal_axes",
]

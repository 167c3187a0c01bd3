"""MAUVE: how near two sets of texts are as distributions, in the space of a sentence encoder.

N texts in each set · H size of an embedding
"""

import numpy as np
from torch import Tensor

from textvae.errors import require_scikit_learn

# The constants of Pillutla et al. (2021): buckets for each text, variance that the PCA keeps, c of the curve.
BUCKETS_PER_TEXT, KEPT_VARIANCE, SCALE = 0.1, 0.9, 5.0
MIXTURES = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]  # λ of the points of the curve
QUANTIZATIONS = 5  # whose values are averaged, as each k-means starts at random


def mauve(embeddings: Tensor, others: Tensor, seed: int = 0) -> float:
    """MAUVE (Pillutla et al. 2021): 1 for two sets with the same distribution, near 0 for two that are apart.

    Both sets are quantized together: a PCA that keeps 90 % of the variance, then k-means into N / 10 buckets, at least
    2. The value is the area under the curve of exp(−5 KL(P ‖ R)) against exp(−5 KL(Q ‖ R)), where P and Q are the
    shares of the buckets and R runs over their mixtures; the mean of five quantizations. Two samples of one
    distribution stay below 1, the more so the smaller N is: compare values of the same N only.

    Args:
        embeddings, others: (N, H) each, with the same N.

    Raises:
        InputError: without scikit-learn.
    """
    require_scikit_learn()
    from sklearn.cluster import KMeans

    points = _principal_components(np.concatenate([embeddings.double().numpy(), others.double().numpy()]))
    num_buckets = max(2, round(BUCKETS_PER_TEXT * len(embeddings)))
    num_buckets = min(num_buckets, len(np.unique(points, axis=0)))
    areas = []
    for number in range(QUANTIZATIONS):
        buckets = KMeans(num_buckets, random_state=seed + number).fit_predict(points)
        counts = [np.bincount(part, minlength=num_buckets) for part in np.split(buckets, [len(embeddings)])]
        areas.append(area_under_divergence_curve(*(count / count.sum() for count in counts)))
    return float(np.mean(areas))


def _principal_components(points: np.ndarray) -> np.ndarray:
    """The points on so many principal components that 90 % of the variance is kept."""
    from sklearn.decomposition import PCA

    if np.ptp(points, axis=0).max() == 0:  # no variance to keep
        return points[:, :1]
    return PCA(KEPT_VARIANCE, svd_solver="full").fit_transform(points)


def area_under_divergence_curve(p: np.ndarray, q: np.ndarray) -> float:
    """The area under exp(−c KL(P ‖ R)) against exp(−c KL(Q ‖ R)), with R = λ P + (1 − λ) Q, of two histograms."""
    mixtures = MIXTURES * p + (1 - MIXTURES) * q
    x, y = (np.exp(-SCALE * _divergence(one, mixtures)) for one in (q, p))
    # From λ = 0, where R is Q, to λ = 1: x falls from 1 and y climbs to 1.
    x, y = np.concatenate([[1], x, [0]]), np.concatenate([[0], y, [1]])
    return float(((y[1:] + y[:-1]) / 2 * (x[:-1] - x[1:])).sum())


def _divergence(p: np.ndarray, mixtures: np.ndarray) -> np.ndarray:
    """KL(P ‖ R) in nats for each mixture R, which is nowhere 0 where P is not."""
    there = p > 0
    return (p[there] * np.log(p[there] / mixtures[:, there])).sum(1)

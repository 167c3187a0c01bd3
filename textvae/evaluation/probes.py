"""Probes: what vectors of texts say of their classes, by scikit-learn.

N texts to learn from · M to be told · H size of a vector
"""

from collections.abc import Sequence

import numpy as np
import torch

from textvae.errors import InputError, require_scikit_learn
from textvae.latents.maps import PCAMap, UMAPMap

NEIGHBOURS = 5
TITLES = {
    "neighbours_cosine": f"{NEIGHBOURS} nearest neighbours, cosine",
    "neighbours_euclidean": f"{NEIGHBOURS} nearest neighbours, Euclidean",
    "linear": "linear probe",
}
MAP_TITLES = {
    "neighbours": f"{NEIGHBOURS} nearest neighbours in the plane",
    "trustworthiness": f"trustworthiness of {NEIGHBOURS} neighbours",
}


def accuracies(
    vectors: np.ndarray, classes: Sequence[str], test_vectors: np.ndarray, test_classes: Sequence[str]
) -> dict[str, float]:
    """The share of test texts whose class is told from their vectors, by the names of `TITLES`.

    The neighbours of a text take a vote. The linear probe is a logistic regression of the standardized dimensions.

    Args:
        vectors: (N, H).
        test_vectors: (M, H).

    Raises:
        InputError: without scikit-learn, for fewer texts than neighbours, or fewer than two classes.
    """
    require_scikit_learn("A probe of classes")
    from sklearn.neighbors import KNeighborsClassifier

    if len(vectors) < NEIGHBOURS or len(set(classes)) < 2:
        raise InputError(f"A probe needs {NEIGHBOURS} texts to learn from, and two classes: give more texts.")
    neighbours = {
        "neighbours_cosine": KNeighborsClassifier(NEIGHBOURS, metric="cosine"),
        "neighbours_euclidean": KNeighborsClassifier(NEIGHBOURS),
    }
    found = {
        name: float(vote.fit(vectors, classes).score(test_vectors, test_classes)) for name, vote in neighbours.items()
    }
    return found | {"linear": linear_probe(vectors, classes, test_vectors, test_classes)}


def linear_probe(
    vectors: np.ndarray, classes: Sequence[str], test_vectors: np.ndarray, test_classes: Sequence[str]
) -> float:
    """The share of test texts whose class a logistic regression of the standardized dimensions tells."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(probe.fit(vectors, classes).score(test_vectors, test_classes))


def map_scores(
    projection: PCAMap | UMAPMap,
    vectors: np.ndarray,
    classes: Sequence[str],
    test_vectors: np.ndarray,
    test_classes: Sequence[str],
) -> dict[str, float]:
    """What a map keeps of the vectors, by the names of `MAP_TITLES`; the test texts are placed in it as new ones.

    `neighbours` is the share of test texts whose class is told by the vote of the nearest texts in the plane;
    `trustworthiness` is 1 where all neighbours of a test text in the plane are its neighbours in the space, among the
    test texts, and some 0.5 where they are any (Venna & Kaski 2001).

    Args:
        vectors: (N, H).
        test_vectors: (M, H).

    Raises:
        InputError: without scikit-learn, or for no more than twice as many test texts as neighbours.
    """
    require_scikit_learn("A probe of classes")
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import KNeighborsClassifier

    if len(test_vectors) <= 2 * NEIGHBOURS:
        raise InputError(f"Trustworthiness needs more than {2 * NEIGHBOURS} test texts: give more.")
    places, test_places = (projection.transform(torch.from_numpy(each)).numpy() for each in (vectors, test_vectors))
    return {
        "neighbours": float(KNeighborsClassifier(NEIGHBOURS).fit(places, classes).score(test_places, test_classes)),
        "trustworthiness": float(trustworthiness(test_vectors, test_places, n_neighbors=NEIGHBOURS)),
    }


def principal_components(vectors: np.ndarray, test_vectors: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `size` principal components of `vectors` (N, H), and those of other vectors (M, H) on the same axes."""
    from sklearn.decomposition import PCA

    axes = PCA(min(size, *vectors.shape), random_state=0).fit(vectors)
    return axes.transform(vectors), axes.transform(test_vectors)


def word_vectors(texts: Sequence[str], test_texts: Sequence[str], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `size` singular directions of the TF-IDF of words: (N, size) and (M, size)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True).fit(texts)
    matrix = words.transform(texts)
    directions = TruncatedSVD(min(size, len(words.vocabulary_) - 1), random_state=0).fit(matrix)
    return directions.transform(matrix), directions.transform(words.transform(test_texts))

"""How well a score tells unusual texts from normal ones, and scores that need no text VAE.

N texts · M normal texts · H size of an embedding

Every score is higher for a more unusual text, and needs no labels. scikit-learn is needed, an extra.
"""

import math
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from torch import Tensor

from textvae.errors import InputError
from textvae.evaluation.judges import SentenceEncoder
from textvae.latents.outliers import NeighbourDistance

RECALL = 0.95  # of the unusual texts, at which false alarms are counted


def auroc(normal: Tensor, unusual: Tensor) -> float:
    """The share of pairs of a normal and an unusual text in which the unusual one scores higher; ties count half.

    Args:
        normal, unusual: the scores of the texts of each kind, (N,) each.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_truth(normal, unusual)))


def false_alarms(normal: Tensor, unusual: Tensor, recall: float = RECALL) -> float:
    """FPR at 95 % TPR: the share of normal texts that score as high as the threshold which finds 95 % of the others.

    Args:
        normal, unusual: the scores of the texts of each kind, (N,) each.
    """
    from sklearn.metrics import roc_curve

    false_rate, true_rate, _ = roc_curve(*_truth(normal, unusual), drop_intermediate=False)
    return float(false_rate[np.argmax(true_rate >= recall)])


def _truth(normal: Tensor, unusual: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if not len(normal) or not len(unusual):
        raise InputError("Scores are compared on normal and on unusual texts: give some of both.")
    return np.repeat([0, 1], [len(normal), len(unusual)]), np.concatenate([normal.numpy(), unusual.numpy()])


def length(texts: Sequence[str]) -> list[int]:
    """The characters of each text: the first thing to compare a score with."""
    return [len(text) for text in texts]


def unigram_nll(normal: Sequence[str], texts: Sequence[str]) -> list[float]:
    """−log p of the words of each text, each by itself, in nats; the counts are those of the normal texts, plus one."""
    counts = Counter(word for text in normal for word in text.split())
    total = sum(counts.values()) + len(counts) + 1  # one for all unknown words
    return [sum(math.log(total / (1 + counts[word])) for word in text.split()) for text in texts]


def tf_idf_distance(
    normal: Sequence[str], texts: Sequence[str], analyzer: str, ngrams: tuple[int, int], neighbours: int
) -> np.ndarray:
    """The mean cosine distance of each text from its nearest normal ones, by TF-IDF of words or characters: (N,).

    Args:
        analyzer, ngrams: `word` or `char_wb`, and from how many of them to how many.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True)
    search = NearestNeighbors(n_neighbors=neighbours, metric="cosine").fit(vectorizer.fit_transform(normal))
    return search.kneighbors(vectorizer.transform(texts))[0].mean(1)


def isolation_score(normal: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """How few random cuts set the TF-IDF of its words apart from normal texts (Liu et al. 2008): (N,)."""
    from sklearn.ensemble import IsolationForest
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True)
    forest = IsolationForest(random_state=0).fit(vectorizer.fit_transform(normal))
    return -forest.score_samples(vectorizer.transform(texts))


def pyod_score(encoder: SentenceEncoder, detector: str, normal: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """The score of pyod's `EmbeddingOD` with this detector, such as LUNAR, on the vectors of a sentence encoder: (N,).

    Raises:
        InputError: if pyod is not installed, or has no such detector.
    """
    if find_spec("pyod") is None:
        raise InputError("A detector of pyod needs that package: pip install pyod.")
    from pyod.models.embedding import EmbeddingOD

    def embedded(some: Sequence[str]) -> np.ndarray:
        return encoder.embed(some).numpy()

    try:
        return EmbeddingOD(embedded, detector, random_state=0).fit(normal).decision_function(texts)
    except ValueError as error:
        raise InputError(f"pyod has no detector {detector!r}: give one such as LUNAR, KNN or ECOD.") from error


def embedding_distance(encoder: SentenceEncoder, normal: Sequence[str], texts: Sequence[str]) -> Tensor:
    """The mean distance of each text from its five nearest normal ones, in the space of a sentence encoder: (N,)."""
    return NeighbourDistance.fit(encoder.embed(normal))(encoder.embed(texts))

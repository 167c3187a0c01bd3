"""Edits of an attribute: does a text have the other one now, is it still the same text, and is it fluent?

Here are also two ways to edit texts without a model, which a text VAE must be compared with. Texts are split into words
at spaces.

N texts · W words of a class
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from textvae.errors import InputError, require_scikit_learn
from textvae.evaluation.judges import Judges, SentenceEncoder
from textvae.evaluation.metrics import corpus_bleu
from textvae.evaluation.quality import fluency

WORDS_OF_A_LIST = 300  # for each class


class AttributeClassifier:
    """A logistic regression on TF-IDF of words and pairs of words, which says what label a text has."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]):
        """Fit it; raises InputError if there are not two labels, or without scikit-learn."""
        check_two(labels)
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self.model = make_pipeline(_tfidf(pairs=True), LogisticRegression(C=10, max_iter=1000)).fit(texts, labels)

    def verdicts(self, texts: Sequence[str]) -> list[str]:
        """The label of each text."""
        return self.model.predict(texts).tolist()

    def share(self, texts: Sequence[str], labels: Sequence[str]) -> float:
        """Share of the texts, 0 to 1, whose verdict is this label."""
        return float(np.mean([one == label for one, label in zip(self.verdicts(texts), labels, strict=True)]))


class WordList:
    """Polar words of two classes; one of the first class is swapped for the most similar one of the second.

    The words are those with the largest weights in a logistic regression on TF-IDF of words. Similar words have near
    embeddings.
    """

    def __init__(
        self, texts: Sequence[str], labels: Sequence[str], encoder: SentenceEncoder, size: int = WORDS_OF_A_LIST
    ):
        """Fit it; raises InputError if there are not two labels, or without scikit-learn."""
        names = check_two(labels)
        from sklearn.linear_model import LogisticRegression

        tfidf = _tfidf()
        probe = LogisticRegression(C=10, max_iter=1000).fit(tfidf.fit_transform(texts), labels)
        order = probe.coef_[0].argsort()  # the first ones speak for names[0]
        words = tfidf.get_feature_names_out()
        lists = [words[order[:size]].tolist(), words[order[::-1][:size]].tolist()]
        near = encoder.embed(lists[0]) @ encoder.embed(lists[1]).T  # (W, W)
        to_second = {word: lists[1][int(row.argmax())] for word, row in zip(lists[0], near, strict=True)}
        to_first = {word: lists[0][int(row.argmax())] for word, row in zip(lists[1], near.T, strict=True)}
        self.swaps = {names[1]: to_second, names[0]: to_first}

    def edit(self, texts: Sequence[str], targets: Sequence[str]) -> list[str]:
        """Each text with its polar words swapped for those of the label that it is to have."""
        return [
            " ".join(self.swaps[target].get(word, word) for word in text.split())
            for text, target in zip(texts, targets, strict=True)
        ]


class NearestSentence:
    """The sentence of the other class that has the nearest TF-IDF of words."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]):
        """Index them; raises InputError if there are not two labels, or without scikit-learn."""
        names = check_two(labels)
        self.tfidf = _tfidf().fit(texts)
        self.texts = {name: [t for t, label in zip(texts, labels, strict=True) if label == name] for name in names}
        self.rows = {name: self.tfidf.transform(own) for name, own in self.texts.items()}

    def edit(self, texts: Sequence[str], targets: Sequence[str]) -> list[str]:
        """In place of each text, a sentence with the label that it is to have."""
        wanted: Any = self.tfidf.transform(texts)
        nearest = [
            (self.rows[target] @ row.T).toarray()[:, 0].argmax() for row, target in zip(wanted, targets, strict=True)
        ]
        return [self.texts[target][int(place)] for place, target in zip(nearest, targets, strict=True)]


def measure_edits(
    sources: Sequence[str],
    edited: Sequence[str],
    targets: Sequence[str],
    classifier: AttributeClassifier,
    judges: Judges,
) -> dict[str, float]:
    """What edits are worth.

    Returns:
        `flips`: share of the edits that the classifier gives the label that they were to have. `bleu` to the source,
        0 to 100. With judges: `similarity`, the mean cosine of the embeddings of source and edit, and `fluency`, nats
        per token.
    """
    values = {"flips": classifier.share(edited, targets), "bleu": corpus_bleu(edited, sources)}
    if judges.encoder is not None:
        cosines = (judges.encoder.embed(sources) * judges.encoder.embed(edited)).sum(1)
        values["similarity"] = float(cosines.mean())
    if judges.language_model is not None:
        values["fluency"] = fluency(judges.language_model, "fluency", edited)["fluency"]
    return values


def check_two(labels: Sequence[str]) -> list[str]:
    """The two labels, sorted; raises InputError if there is another number of them, or without scikit-learn."""
    require_scikit_learn("The measure of edits")
    names = sorted(set(labels))
    if len(names) != 2:
        raise InputError(f"Edits are measured between two labels, and there are {len(names)}: give texts of two.")
    return names


def _tfidf(pairs: bool = False):
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2 if pairs else 1), sublinear_tf=True, min_df=2)

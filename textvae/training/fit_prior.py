"""The prior of a finished run, fitted to the z of training texts."""

from collections import Counter

import numpy as np
from datasets import Dataset, IterableDataset

from textvae.pipeline.pipeline import TextVAEPipeline

MOST_TEXTS = 10_000  # of the corpus; more change the Gaussian little, and take minutes


def fit_prior(pipeline: TextVAEPipeline, train_set: Dataset | IterableDataset, seed: int) -> None:
    """Fit the pipeline's prior to texts of the corpus, chosen by `seed`, as many of each label; of a stream the first.

    A model without z has none.
    """
    names = pipeline.model.config.label_names
    if pipeline.model.config.is_language_model:
        return
    if isinstance(train_set, IterableDataset):
        pipeline.fit_prior([row["text"] for row in train_set.take(MOST_TEXTS)])
        return
    chosen = np.random.default_rng(seed).permutation(len(train_set))
    if names:
        chosen = _of_each(np.asarray(train_set["label_id"][:])[chosen], chosen, -(-MOST_TEXTS // len(names)))
    rows = train_set.select(chosen[:MOST_TEXTS])
    pipeline.fit_prior(rows["text"][:], label=[names[i] for i in rows["label_id"]] if names else None)


def _of_each(labels: np.ndarray, order: np.ndarray, most: int) -> np.ndarray:
    """The first `most` of each label, in this order."""
    seen: Counter[int] = Counter()
    kept = []
    for label, index in zip(labels.tolist(), order, strict=True):
        seen[label] += 1
        if seen[label] <= most:
            kept.append(index)
    return np.array(kept)

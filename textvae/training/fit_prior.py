"""The prior of a finished run, fitted to the z of training texts."""

from collections import Counter

import numpy as np
from datasets import Dataset, IterableDataset

from textvae.data.inference_batches import InferenceBatches
from textvae.pipeline import priors
from textvae.pipeline.codec import Codec
from textvae.pipeline.pipeline import TextVAEPipeline

MOST_TEXTS = 10_000  # of the corpus; more change the Gaussian little, and take minutes


def fit_prior(pipeline: TextVAEPipeline, train_set: Dataset | IterableDataset, seed: int) -> None:
    """Fit the pipeline's prior to tokenized texts of the corpus; a model without z has none."""
    config = pipeline.model.config
    if config.is_language_model:
        return
    codec, rows = Codec(pipeline.model, pipeline.tokenizers), some_texts(train_set, len(config.label_names), seed)
    read = InferenceBatches(rows, pipeline.tokenizers, pipeline.device, codec.batch_size)
    pipeline.priors[priors.USUAL] = priors.fit_prior(codec, read)


def some_texts(train_set: Dataset | IterableDataset, num_labels: int, seed: int) -> Dataset:
    """At most 10,000 texts, chosen by `seed`, and of each label as many; of a stream the first."""
    if isinstance(train_set, IterableDataset):
        return Dataset.from_list(list(train_set.take(MOST_TEXTS)))
    chosen = np.random.default_rng(seed).permutation(len(train_set))
    if num_labels:
        chosen = _of_each(np.asarray(train_set["label_id"][:])[chosen], chosen, -(-MOST_TEXTS // num_labels))
    return train_set.select(chosen[:MOST_TEXTS])


def _of_each(labels: np.ndarray, order: np.ndarray, most: int) -> np.ndarray:
    """The first `most` of each label, in this order."""
    seen: Counter[int] = Counter()
    kept = []
    for label, index in zip(labels.tolist(), order, strict=True):
        seen[label] += 1
        if seen[label] <= most:
            kept.append(index)
    return np.array(kept)

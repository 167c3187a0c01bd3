"""The splits of a corpus: which is which, and what is held out of a corpus that has only one."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Dataset, IterableDataset

from textvae.errors import InputError

logger = logging.getLogger(__name__)

MOST_HELD_OUT = 5_000
FEW_HELD_OUT = 100  # texts; with fewer the standard errors are large
VALIDATION_NAMES = ("validation", "valid", "val", "dev")


def train_and_validation(source: object, splits: Mapping[Any, Any]) -> dict[str, Any]:
    """The split `train` and the one for validation, if there is one: the first of `validation`, `valid`, `val`, `dev`.

    A line in the log says if it has another name than `validation`, or if there are splits but none with such a name.

    Raises:
        InputError: if there is no split `train`.
    """
    found = ", ".join(map(str, splits))
    if "train" not in splits:
        raise InputError(f"{source} has no split 'train' but {found}: give one that name.")
    name = next((name for name in VALIDATION_NAMES if name in splits), None)
    if name is None:
        if len(splits) > 1:
            logger.warning(
                "%s has the splits %s and none called validation: some texts of train are held out", source, found
            )
        return {"train": splits["train"]}
    if name != "validation":
        logger.warning("%s has the splits %s: %s is the validation split", source, found, name)
    return {"train": splits["train"], "validation": splits[name]}


def split(dataset: Dataset | IterableDataset, share: float, seed: int, source: str) -> dict:
    """Hold out this share of the texts: a seeded sample, or every 1/share-th text of a stream.

    At most 5,000 texts and, where training keeps one, at least 2, which an evaluation needs.

    Raises:
        InputError: if there is only one text.
    """
    if isinstance(dataset, IterableDataset):
        stride = max(2, round(1 / share))
        train, held_out = (
            dataset.filter(_is_held_out, with_indices=True, fn_kwargs={"stride": stride, "wanted": wanted})
            for wanted in (False, True)
        )
        held_out = held_out.take(MOST_HELD_OUT)
    else:
        size = _size(len(dataset), share, source)
        order = np.random.default_rng(seed).permutation(len(dataset))
        train, held_out = dataset.select(np.sort(order[size:])), dataset.select(np.sort(order[:size]))
    if next(iter(train), None) is None:
        raise InputError(f"{source} holds one text and cannot be split: add texts, or give a --validation_file.")
    return {"train": train, "validation": held_out}


def _size(number: int, share: float, source: str) -> int:
    """How many of so many texts to hold out; log if these are few."""
    size = max(1, min(max(2, round(share * number)), number - 1, MOST_HELD_OUT))
    if 1 < number and size < FEW_HELD_OUT:
        logger.warning(
            "%s: %d of %d texts are held out, so few that all results on them are rough: raise --validation_split "
            "(%g), or give a --validation_file",
            *(source, size, number, share),
        )
    return size


def _is_held_out(_: dict, index: int, stride: int, wanted: bool) -> bool:
    return (index % stride == 0) == wanted

"""Rows of a corpus that stand in it twice, or in both of its splits.

N rows
"""

import logging
from typing import cast

import numpy as np
import pandas
import pyarrow
from datasets import Dataset
from pandas.util import hash_pandas_object

from textvae.errors import InputError

logger = logging.getLogger(__name__)

IN_TRAINING = "num_held_out_in_training"  # the name of this count in a report
_BATCH_ROWS = 10_000


def count_in_training(held_out: Dataset, train: Dataset) -> int:
    """How many held-out rows are equal to a training row in their text and, if there are any, in target and label.

    This takes far longer if rows of `train` were selected and not written anew, as tokenizing does.
    """
    return int(np.isin(_digests(held_out), _digests(train)).sum())


def drop_duplicates(splits: dict[str, Dataset], source: str) -> dict[str, Dataset]:
    """Keep the first of equal training rows, and the validation rows that training has not; log how many were dropped.

    Raises:
        InputError: if no validation row is left.
    """
    digests = {name: _digests(part) for name, part in splits.items()}
    _, firsts = np.unique(digests["train"], return_index=True)
    kept = {"train": np.sort(firsts)}
    if "validation" in splits:
        kept["validation"] = np.flatnonzero(~np.isin(digests["validation"], digests["train"]))
        if not len(kept["validation"]):
            raise InputError(
                "Training has all held-out texts, and drop_duplicates would leave none: leave it out, or give other "
                "held-out texts."
            )
    dropped = {name: len(splits[name]) - len(rows) for name, rows in kept.items()}
    if any(dropped.values()):
        of_both = f", and {dropped['validation']} held-out texts that training has" if "validation" in dropped else ""
        logger.warning("%s: %d duplicates of training texts were dropped%s", source, dropped["train"], of_both)
    return {name: part.select(kept[name]) if dropped[name] else part for name, part in splits.items()}


def refuse_streamed_duplicates() -> None:
    """Raises InputError: duplicates are known when all texts have been read."""
    raise InputError("The duplicates of a stream are not known before its end: leave streaming or drop_duplicates out.")


def _digests(dataset: Dataset) -> np.ndarray:
    """64 bits of each row, (N,). Among ten million rows two different ones are equal here with a chance of 3e-6."""
    columns = [name for name in ("text", "target", "label") if name in dataset.column_names]
    tables = cast(Dataset, dataset.select_columns(columns).with_format("arrow")).iter(_BATCH_ROWS)
    parts = [_digests_of_table(cast(pyarrow.Table, table)) for table in tables]
    return np.concatenate([np.empty(0, dtype=np.uint64), *parts])


def _digests_of_table(table: pyarrow.Table) -> np.ndarray:
    # `categorize` would first look for equal values, which takes longer.
    rows = cast(pandas.DataFrame, table.to_pandas())
    return np.asarray(hash_pandas_object(rows, index=False, categorize=False))  # pyright: ignore[reportCallIssue]

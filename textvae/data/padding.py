"""Token ids of many texts in one array, and rows of them padded on the right.

n texts
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from textvae.errors import InputError


def padded_rows(flat: np.ndarray, starts: np.ndarray, lengths: np.ndarray, fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `flat[start : start + length]`, padded with `fill`, and where they are real: both (n, longest)."""
    columns = np.arange(lengths.max(initial=0))
    real = columns < lengths[:, None]
    places = np.minimum(starts[:, None] + columns, len(flat) - 1)
    return np.where(real, flat[places], fill).astype(np.int64), real


class TokenRows(NamedTuple):
    """Ids of texts, all in one array: text i is `flat[starts[i] : starts[i] + lengths[i]]`."""

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of_rows(cls, rows: Sequence[np.ndarray]) -> "TokenRows":
        lengths = np.array([len(row) for row in rows])
        return cls(np.concatenate(rows), np.cumsum(lengths) - lengths, lengths)

    def take(self, rows: np.ndarray) -> "TokenRows":
        return TokenRows(self.flat, self.starts[rows], self.lengths[rows])

    def without_first(self, token: int | None) -> "TokenRows":
        """Each without its first token, if that is this one."""
        if token is None:
            return self
        skip = (self.flat[self.starts] == token).astype(np.int64)
        return TokenRows(self.flat, self.starts + skip, self.lengths - skip)


def padded_batch(texts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad lists of ids on the right: `input_ids` and `attention_mask`, both (n, longest) and int64."""
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    flat = np.concatenate([np.zeros(1, dtype=np.int64), *(np.asarray(ids, dtype=np.int64) for ids in texts)])
    ids, real = padded_rows(flat, 1 + np.cumsum(lengths) - lengths, lengths, pad_id)
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))


def token_rows_of(dataset: Dataset, name: str) -> TokenRows:
    """A column of ids."""
    column = dataset.select_columns(name).with_format("arrow")[:][name]
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in column.chunks]).astype(np.int64)
    return TokenRows(flat, np.cumsum(lengths) - lengths, lengths)


def check_labels(columns: Iterable[str], encoder_tokenizer: PreTrainedTokenizerBase | None) -> bool:
    """Whether these columns of a dataset say what is to be written; with two tokenizers they must.

    Raises:
        InputError: if they do not.
    """
    if "labels" not in columns and encoder_tokenizer is not None:
        raise InputError("The dataset has no column 'labels': tokenize it with both tokenizers.")
    return "labels" in columns

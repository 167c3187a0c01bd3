"""Token ids of many texts in one array, and rows of them padded on the right.

n texts
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset


class TokenRows(NamedTuple):
    """Token ids of texts, all in one array: text i is `flat[starts[i] : starts[i] + lengths[i]]`."""

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[np.ndarray]) -> "TokenRows":
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        flat = np.concatenate([np.zeros(1, dtype=np.int64), *rows])  # one more, so that it is never empty
        return cls(flat, 1 + np.cumsum(lengths) - lengths, lengths)

    @classmethod
    def of_column(cls, dataset: Dataset, name: str) -> "TokenRows":
        """A column of token ids, whole."""
        column = dataset.select_columns(name).with_format("arrow")[:][name]
        flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
        lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in column.chunks]).astype(np.int64)
        return cls(flat, np.cumsum(lengths) - lengths, lengths)

    def take(self, rows: np.ndarray) -> "TokenRows":
        return TokenRows(self.flat, self.starts[rows], self.lengths[rows])

    def without_first(self, token: int | None) -> "TokenRows":
        """Each text without its first token where that is `token`."""
        if token is None:
            return self
        skip = (self.flat[self.starts] == token).astype(np.int64)
        return TokenRows(self.flat, self.starts + skip, self.lengths - skip)

    def padded(self, fill: int) -> tuple[np.ndarray, np.ndarray]:
        """The texts padded on the right with `fill`, and where they are real: both (n, longest)."""
        columns = np.arange(self.lengths.max(initial=0))
        real = columns < self.lengths[:, None]
        places = np.minimum(self.starts[:, None] + columns, len(self.flat) - 1)
        return np.where(real, self.flat[places], fill).astype(np.int64), real


def padded_batch(texts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of token ids, padded on the right: `input_ids` and `attention_mask`, both (n, longest) and int64."""
    ids, real = TokenRows.of([np.asarray(text, dtype=np.int64) for text in texts]).padded(pad_id)
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))

"""Aligned texts: those of several columns or files that belong together row by row, such as a text and its paraphrases.

N rows
"""

import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from textvae.data.corpus_files import find_files
from textvae.data.readers import read_rows
from textvae.data.text_columns import has_words, say_once
from textvae.errors import InputError

logger = logging.getLogger(__name__)


class Column(NamedTuple):
    """The texts of a file: in a column of a table, or, of a `.txt`, one a line."""

    file: str | Path
    name: str = "text"
    what: str = "text"  # the column is the `--<what>_column` of error messages


def load_aligned(columns: Sequence[Column]) -> list[list[str]]:
    """The texts of each column, N of each. A row with a gap in one of them is dropped from all, and the log counts it.

    Raises:
        InputError: if a file or column cannot be read, they differ in their number of rows, or no row is whole.
    """
    read = [_texts(column) for column in columns]
    for column, texts in zip(columns, read, strict=True):
        if len(texts) != len(read[0]):
            raise InputError(
                f"{column.file} has {len(texts)} rows and {columns[0].file} has {len(read[0])}: give files whose rows "
                "belong together."
            )
    whole = [row for row in zip(*read, strict=True) if all(map(has_words, row))]
    if not whole:
        raise InputError(f"{columns[0].file} has no row without a gap: give texts.")
    if dropped := len(read[0]) - len(whole):
        logger.warning("%s: %d rows with a gap were dropped", columns[0].file, dropped)
    return [list(texts) for texts in zip(*whole, strict=True)]


def _texts(column: Column) -> list[str | None]:
    files = find_files(column.file)
    rows = chain.from_iterable(read_rows(file, {column.what: column.name}, say_once) for file in files)
    return [text for (text,) in rows]

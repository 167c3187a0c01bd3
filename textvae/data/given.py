"""A corpus that is given in Python: texts, a table, datasets, or the name of a file."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas
import pyarrow
from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, Value

from textvae.data.columns import Columns, check_columns
from textvae.data.text_columns import Place, is_gap, strings_of
from textvae.errors import InputError


@runtime_checkable
class ArrowTable(Protocol):
    """A table of pyarrow, polars or another library with Arrow's interface."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


Table = pandas.DataFrame | ArrowTable | Mapping[str, Iterable]
Texts = str | Path | Iterable[str] | Table | Dataset | DatasetDict | IterableDataset | IterableDatasetDict


def files_in(texts: Texts | None) -> str | list[str] | None:
    """The names of the files that were given as the corpus; None if it is no file.

    A `Path`, a list of them, or a string that names something that exists.

    Raises:
        InputError: for another string, or bytes, which would be read letter by letter.
    """
    if isinstance(texts, Path):
        return str(texts)
    if isinstance(texts, str):
        if os.path.exists(os.path.expanduser(texts)):
            return texts
        start = " ".join(texts.split())
        start = f"{start[:50]}…" if len(start) > 50 else start
        raise InputError(f"There is no file {start!r}: correct the path, or give the texts as a list.")
    if isinstance(texts, bytes | bytearray):
        raise InputError("The corpus is of type bytes: give a list of strings, or the path of a file.")
    if isinstance(texts, Sequence) and texts and all(isinstance(path, Path) for path in texts):
        return [str(path) for path in texts] if len(texts) > 1 else str(texts[0])
    return None


def is_stream(texts: Texts | None) -> bool:
    """Whether this is a stream, or a dictionary of splits with one."""
    parts = texts.values() if isinstance(texts, Mapping) else [texts]
    return any(isinstance(part, IterableDataset) for part in parts)


def splits_of(texts: Texts, columns: Columns) -> Mapping[Any, Any]:
    """The splits by name: a dictionary is one of splits, and not of columns, if it has `train` and no texts."""
    if isinstance(texts, DatasetDict | IterableDatasetDict):
        return texts
    if isinstance(texts, Mapping) and "train" in texts and columns["text"] not in texts:
        return texts
    return {"train": texts}


def is_table(texts: Any) -> bool:
    """Whether this holds texts by column."""
    return isinstance(texts, Mapping | pandas.DataFrame | ArrowTable) and not isinstance(texts, pandas.Series)


def columns_of(table: Table, source: str) -> dict[str, Iterable]:
    """The columns of a table, by name.

    Raises:
        InputError: if it is a single column.
    """
    if isinstance(table, pandas.DataFrame):
        return {name: table.iloc[:, place] for place, name in enumerate(table.columns)}
    if isinstance(table, Mapping):
        return dict(table)
    try:
        arrow = pyarrow.table(table)
    except pyarrow.ArrowException as error:
        raise InputError(f"{source} is of type {type(table).__name__}: give a table, or a list of strings.") from error
    return dict(zip(arrow.column_names, arrow.columns, strict=True))


def dataset_of(table: Table, columns: Columns, source: str) -> Dataset:
    """The columns of a table that are asked for, under their own names, as strings or None.

    Raises:
        InputError: if a column is missing or holds no texts, or the columns differ in length.
    """
    there = columns_of(table, source)
    check_columns(there, columns, source)
    strings = {}
    for what, name in columns.items():
        column = there[name]
        if isinstance(column, str | bytes) or not isinstance(column, Iterable):
            raise InputError(f"{source}: {name!r} is of type {type(column).__name__}: give a list of strings there.")
        strings[name] = strings_of(_values(column), Place(source, what, name))
    if len({*map(len, strings.values())}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in strings.items())
        raise InputError(f"{source} has columns of different lengths ({lengths}): make them equal.")
    return _of_strings(strings)


def dataset_of_texts(texts: Sequence[str | None], column: str) -> Dataset:
    """A dataset with this one column."""
    return _of_strings({column: texts})


def listed_texts(texts: Any, source: str) -> list:
    """The items of a list or another iterable; blank for a gap.

    Raises:
        InputError: if it is none, or its items are rows.
    """
    if not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise InputError(f"{source} is of type {kind}: give a list of texts, a file, a table or a dataset.")
    items = list(texts)
    if items and isinstance(items[0], Mapping):
        raise InputError(f"{source} is a list of dictionaries: give datasets.Dataset.from_list of it.")
    return ["" if is_gap(item) else item for item in items]


def _of_strings(columns: Mapping[str, Sequence[str | None]]) -> Dataset:
    return Dataset.from_dict(dict(columns), features=Features(dict.fromkeys(columns, Value("string"))))


def _values(column: Any) -> list:
    if isinstance(column, pyarrow.ChunkedArray | pyarrow.Array):
        return column.to_pylist()
    return column.tolist() if isinstance(column, np.ndarray | pandas.Series) else list(column)

"""From the columns of any dataset to the columns `text`, `target` and `label`: strings, and no row with a gap."""

import functools
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pandas
import pyarrow
from datasets import ClassLabel, Dataset, Features, IterableDataset, Value
from pandas.api.types import is_scalar

from textvae.data.columns import Columns, check_columns, gaps_of
from textvae.data.labels import name_labels
from textvae.errors import InputError

logger = logging.getLogger(__name__)

AnyDataset = Dataset | IterableDataset


class Place(NamedTuple):
    """A column for error messages: the name of its corpus, what it becomes, its own name."""

    source: str
    what: str
    column: str


def plain(dataset: AnyDataset) -> AnyDataset:
    """The same rows as values of Python, in place of numpy, pandas, torch or jax, and with any transform done."""
    if isinstance(dataset, IterableDataset):
        return dataset.with_format(None)
    kind, columns = dataset.format["type"], dataset.column_names
    if kind is None and dataset.format["columns"] == columns:
        return dataset
    if kind == "custom":
        dataset = dataset.map(_same, batched=True, remove_columns=columns)
    return dataset.with_format(None)


def text_columns(dataset: AnyDataset, columns: Columns, source: str) -> AnyDataset:
    """The columns `text` and, if asked for, `target` and `label` of a dataset, always strings.

    Rows with a blank text, a missing one or a NaN are dropped, and their number is logged, but not of a stream.
    Numbers, dates and truth values become texts, and a line says so once.

    Args:
        columns: what the columns become, and their names in the dataset.
        source: the name of the corpus in messages.

    Raises:
        InputError: if a column is missing or holds no texts, such as lists, dictionaries or bytes, or nothing is left.
            Values of a stream that does not tell its types are checked when they are read.
    """
    dataset = plain(dataset)
    names = list(columns.values())
    known = dataset.column_names or list(next(iter(dataset), dict.fromkeys(names)))
    check_columns(known, columns, source)
    features = dataset.features or Features()
    settled = [place.column for place in _places(columns, source) if _check_type(place, features)]
    arguments = {"columns": columns, "source": source, "settled": settled}
    # A stream has no labels.
    arguments["classes"] = {name: features[name] for name in names if isinstance(features.get(name), ClassLabel)}
    strings = Features(dict.fromkeys(columns, Value("string")))
    options = {"batched": True, "fn_kwargs": arguments, "remove_columns": names, "features": strings}
    texts = dataset.select_columns(names).map(_whole_rows, **options)
    if isinstance(dataset, Dataset) and isinstance(texts, Dataset) and (dropped := len(dataset) - len(texts)):
        logger.warning("%s: %d %s were dropped", source, dropped, gaps_of(columns))
    if next(iter(texts), None) is None:
        raise InputError(f"{source} holds no text: give one with words in it.")
    return texts


def strings_of(
    values: Iterable, place: Place, feature: Any = None, say: Callable[[str], object] | None = logger.warning
) -> list[str | None]:
    """The values of a column as texts or names of labels; None for a gap.

    Args:
        feature: the `ClassLabel` of the column, if it has one.
        say: takes a sentence about values that are no strings; None if the user knows it.

    Raises:
        InputError: for a value that is no text, such as a list.
    """
    values = list(values)
    for value in values:
        if not isinstance(value, str) and (isinstance(value, bytes) or not is_scalar(value)):
            raise _no_texts(place, type(value).__name__)
    if place.what == "label" or feature is not None:
        return name_labels([None if is_gap(value) else value for value in values], feature)
    texts = list(map(spelled, values))
    if say is not None:
        pairs = zip(values, texts, strict=True)
        other = next((value for value, text in pairs if text is not None and not isinstance(value, str)), None)
        if other is not None:
            say(_read_as_texts(place, type(other).__name__))
    return texts


def is_gap(value: Any) -> bool:
    """Whether this is None, a NaN, or what pandas has for it."""
    return not isinstance(value, str) and is_scalar(value) and bool(pandas.isna(value))


def has_words(text: str | None) -> bool:
    """Whether this is a text: neither a gap nor blank."""
    return text is not None and text != "" and not text.isspace()


def spelled(value: Any) -> str | None:
    """A single value as a text, truth values as in JSON; None for a gap."""
    if isinstance(value, str):
        return value
    if is_gap(value):
        return None
    return json.dumps(value) if isinstance(value, bool) else str(value)


def holds_no_texts(kind: pyarrow.DataType) -> bool:
    """Whether values of this type cannot be read as texts: lists, dictionaries, bytes."""
    return pyarrow.types.is_nested(kind) or "binary" in str(kind)


def holds_others(kind: pyarrow.DataType) -> bool:
    """Whether values of this type are no strings, and become texts."""
    return "string" not in str(kind) and not pyarrow.types.is_null(kind)


@functools.cache
def say_once(sentence: str) -> None:
    """Log a sentence about a corpus that is read in parts, and perhaps many times."""
    logger.warning(sentence)


def _same(batch: dict) -> dict:
    return dict(batch)


def _places(columns: Columns, source: str) -> list[Place]:
    return [Place(source, what, name) for what, name in columns.items()]


def _check_type(place: Place, features: Features) -> bool:
    """Whether the type of a column settles what its values are; log if they are no strings but become texts.

    Raises:
        InputError: if they cannot be texts.
    """
    if place.column not in features:
        return False
    kind = Features({place.column: features[place.column]}).arrow_schema.field(0).type
    if isinstance(kind, pyarrow.BaseExtensionType):
        kind = kind.storage_type
        if "string" in str(kind):  # JSON, of any value
            return False
    if holds_no_texts(kind):
        raise _no_texts(place, _name_of(kind))
    if holds_others(kind) and place.what != "label":
        logger.warning(_read_as_texts(place, _name_of(kind)))
    return True


def _name_of(kind: pyarrow.DataType) -> str:
    if pyarrow.types.is_nested(kind):
        is_dict = pyarrow.types.is_struct(kind) or pyarrow.types.is_map(kind)
        return "dict" if is_dict else "list"
    return "bytes" if "binary" in str(kind) else str(kind)


def _no_texts(place: Place, kind: str) -> InputError:
    remedy = "decode them" if kind == "bytes" else "make a string of each"
    return InputError(
        f"{place.source}: the column {place.column!r} holds values of type {kind} and no {place.what}s: {remedy}, or "
        f"name another --{place.what}_column."
    )


def _read_as_texts(place: Place, kind: str) -> str:
    return f"{place.source}: the column {place.column!r} holds values of type {kind}, which are read as texts"


def _whole_rows(batch: dict, columns: Columns, source: str, settled: list[str], classes: dict) -> dict:
    """The rows of a batch without gaps."""
    strings = []
    for place in _places(columns, source):
        say = None if place.column in settled else say_once
        strings.append(strings_of(batch[place.column], place, classes.get(place.column), say))
    whole = [row for row in zip(*strings, strict=True) if all(map(has_words, row))]
    return {what: [row[index] for row in whole] for index, what in enumerate(columns)}

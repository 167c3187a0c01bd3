"""Corpora in: files, datasets and the embedded corpus as memory-mapped Arrow, or as streams."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, load_dataset
from datasets.exceptions import DatasetsError

from textvae.data.chitchat import load_chitchat
from textvae.data.columns import Columns
from textvae.data.corpus_files import Files, find_files, find_splits, listed
from textvae.data.duplicates import drop_duplicates as without_duplicates
from textvae.data.duplicates import refuse_streamed_duplicates
from textvae.data.file_corpus import load_files
from textvae.data.given import (
    Texts,
    dataset_of,
    dataset_of_texts,
    files_in,
    is_stream,
    is_table,
    listed_texts,
    splits_of,
)
from textvae.data.labels import match_labels, refuse_streamed_labels
from textvae.data.splits import split, train_and_validation
from textvae.data.text_columns import text_columns
from textvae.errors import InputError

logger = logging.getLogger(__name__)

_STREAMED_ROWS = 100_000
_IN_MEMORY = "The given corpus"  # the name in error messages of a corpus that is no file


def load_corpus(
    train_file: Files | None = None,
    validation_file: Files | None = None,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    *,
    texts: Texts | None = None,
    text_column: str = "text",
    target_column: str | None = None,
    label_column: str | None = None,
    validation_split: float = 0.02,
    drop_duplicates: bool = False,
    streaming: bool = False,
    max_train_samples: int | None = None,
    max_validation_samples: int | None = None,
    seed: int = 0,
) -> DatasetDict | IterableDatasetDict:
    """Load the splits `train` and `validation`, each with the column `text`; by default of the embedded corpus.

    With `target_column` there is a column `target` too: `text` is encoded and `target` is decoded from its z. With
    `label_column` there is a column `label`, always of strings. Rows with a blank text, target or label are dropped,
    and their number is logged unless `streaming`. A held-out text is dropped as well if no training text has its label.
    Files are cached as memory-mapped Arrow.

    Args:
        train_file, validation_file: one or several names of files, patterns or directories, see `find_files`: txt (one
            text per line), csv, tsv, jsonl, json, parquet or arrow, by suffix. If `train_file` is one directory, files
            whose name says `validation` or `test` are not for training, and the former are the validation split.
        dataset_name, dataset_config_name: a dataset of the Hub, or a directory, in place of files.
        texts: in place of both, a list of texts, a table (columns in a dictionary, a DataFrame of pandas or polars, …),
            a dataset, a stream, or a dictionary of them with `train` and perhaps `validation`, also called `valid`,
            `val` or `dev`. A `Path`, a list of them, or the name of a file as a string is a `train_file`.
        text_column, target_column, label_column: names of the columns; a txt file has one column, of texts.
        validation_split: share of the texts that is held out if there is no validation file or split; at least 2 and
            at most 5,000 texts: a seeded sample, or every 1/share-th text when `streaming`.
        drop_duplicates: keep only the first of equal rows, and only those held-out rows that training has not.
        streaming: give streams; texts that are a stream are one in any case.
        max_train_samples, max_validation_samples: keep only the first so many.

    Raises:
        InputError: for a file or dataset that is missing, empty, unreadable, of unknown format, without that
            column, or too small to be split; for a column that holds no texts; for one label or more than 1,000, a
            label that only the validation has, and labels and `drop_duplicates` of a stream.
    """
    _check_arguments(train_file, validation_file, dataset_name, texts, validation_split)
    if (files := files_in(texts)) is not None:
        train_file, texts = files, None
    streaming = streaming or is_stream(texts)
    _check_kind(train_file is dataset_name is texts is None, streaming, target_column, label_column, drop_duplicates)
    columns = _columns(text_column, target_column, label_column)
    if texts is not None:
        splits = _in_memory(texts, columns)
    elif dataset_name is not None:
        splits = _load_named(dataset_name, dataset_config_name, columns, streaming)
    elif train_file is not None:
        splits = _load_splits(train_file, validation_file, columns, streaming)
    else:
        splits = load_chitchat(seed)
    parts: dict[Any, Any] = _streams(splits) if streaming else dict(splits)
    source = listed(train_file or dataset_name or _IN_MEMORY)
    if drop_duplicates:
        parts = without_duplicates(parts, source)
    was_split = "validation" not in parts
    if was_split:
        parts = split(parts["train"], validation_split, seed, source)
    for name, limit in (("train", max_train_samples), ("validation", max_validation_samples)):
        parts[name] = _first(parts[name], limit, name)
    if streaming:
        return IterableDatasetDict(parts)
    if label_column is not None:
        parts["validation"] = match_labels(parts["train"], parts["validation"], was_split)
    return DatasetDict(parts)


def load_texts(
    files: Files, text_column: str = "text", target_column: str | None = None, label_column: str | None = None
) -> Dataset:
    """Load the texts of files in their order, as `text` and, if asked for, `target` and `label`; see `load_corpus`.

    Any number of different labels will do.
    """
    return cast(Dataset, load_files(find_files(files), _columns(text_column, target_column, label_column)))


def _check_arguments(train_file, validation_file, dataset_name, texts, validation_split) -> None:
    for name, value in (("train_file", train_file), ("dataset_name", dataset_name)):
        if texts is not None and value is not None:
            raise InputError(f"Both texts and the {name} {listed(value)!r} were given: keep one of the two.")
    if dataset_name is not None and (train_file is not None or validation_file is not None):
        raise InputError(f"Both a file and the dataset {dataset_name!r} were given: keep one of the two.")
    if validation_file is not None and train_file is None:
        raise InputError(
            f"A validation file ({listed(validation_file)}) was given without a train file: add --train_file."
        )
    if not 0 < validation_split < 1:
        raise InputError(f"validation_split is {validation_split}: give a share between 0 and 1, such as 0.02.")


def _check_kind(
    is_embedded: bool, is_streamed: bool, target_column: str | None, label_column: str | None, drop_duplicates: bool
) -> None:
    """Raises InputError for what the embedded corpus, or a stream, does not have."""
    for name, column in (("target", target_column), ("label", label_column)):
        if is_embedded and column is not None:
            raise InputError(f"The embedded corpus has no {name}s: give a --train_file, or leave {name}_column out.")
    if is_streamed and label_column is not None:
        refuse_streamed_labels()
    if is_streamed and drop_duplicates:
        refuse_streamed_duplicates()


def _columns(text_column: str, target_column: str | None, label_column: str | None) -> Columns:
    """The columns that become `text`, `target` and `label`, in this order."""
    columns: Columns = {"text": text_column}
    for what, column in (("target", target_column), ("label", label_column)):
        for other in columns:
            if column == columns[other]:
                raise InputError(
                    f"{other}_column and {what}_column are both {column!r}: name two, or leave the {what}s out."
                )
        if column is not None:
            columns[what] = column
    return columns


def check_strings(texts: Sequence[object], first: int = 0) -> None:
    """Raises InputError if one of the texts, numbered from `first`, is no string, or cannot be written as UTF-8."""
    for number, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise InputError(f"Text {number} is of type {type(text).__name__}: give strings.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"Text {number} holds half a character at position {error.start} (a lone surrogate): remove it."
            ) from error


def _in_memory(texts: Texts, wanted: Columns) -> dict:
    splits = train_and_validation(_IN_MEMORY, splits_of(texts, wanted))
    return {name: text_columns(_dataset(part, wanted), wanted, _IN_MEMORY) for name, part in splits.items()}


def _load_splits(train: Files, validation: Files | None, wanted: Columns, streaming: bool) -> dict:
    """The splits of files; a directory may have its own validation split."""
    directory = _directory(train)
    files = {} if directory is None else find_splits(directory) or {}
    files = train_and_validation(directory, files) if "train" in files else {"train": find_files(train)}
    if validation is not None:
        files["validation"] = find_files(validation)
    return {split: load_files(found, wanted, streaming) for split, found in files.items()}


def _directory(names: Files) -> Path | None:
    """The directory that is named, if it is the only name."""
    names = [names] if isinstance(names, str | Path) else list(names)
    path = Path(names[0]).expanduser() if len(names) == 1 else None
    return path if path is not None and path.is_dir() else None


def _dataset(texts: Any, wanted: Columns) -> Dataset | IterableDataset:
    if isinstance(texts, Dataset | IterableDataset):
        return texts
    if is_table(texts):
        return dataset_of(texts, wanted, _IN_MEMORY)
    texts = listed_texts(texts, _IN_MEMORY)
    check_strings(texts)
    return dataset_of_texts(texts, wanted["text"])


def _load_named(name: str, config: str | None, wanted: Columns, streaming: bool) -> dict:
    source = f"The dataset {name!r}"
    directory = _directory(name) if config is None else None
    if directory is not None and (files := find_splits(directory)) is not None:
        files = train_and_validation(source, files)
        return {split: load_files(found, wanted, streaming) for split, found in files.items()}
    try:
        loaded = load_dataset(name, config, streaming=streaming)
    except (DatasetsError, OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{source} could not be loaded: check its name and configuration ({reason}).") from error
    splits = train_and_validation(source, cast(dict, loaded))
    return {split: text_columns(part, wanted, name) for split, part in splits.items()}


def _streams(splits: Mapping) -> dict:
    return {name: part.to_iterable_dataset() if isinstance(part, Dataset) else part for name, part in splits.items()}


def _first(dataset: Dataset | IterableDataset, limit: int | None, split: str) -> Dataset | IterableDataset:
    if limit is not None and limit < 1:
        raise InputError(f"max_{split}_samples is {limit}, which leaves no texts: give 1 or more, or leave it out.")
    if limit is None or (isinstance(dataset, Dataset) and limit >= len(dataset)):
        return dataset
    return dataset.take(limit)


def iterate_texts(dataset: Dataset | IterableDataset, columns: Sequence[str]) -> Iterator[str]:
    """The texts of these columns, row by row; of a stream, which may have no end, those of the first 100,000 rows."""
    rows = dataset.take(_STREAMED_ROWS) if isinstance(dataset, IterableDataset) else dataset
    return (row[column] for row in cast("Iterable[dict]", rows) for column in columns)

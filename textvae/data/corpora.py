"""Corpora in: files, datasets and the embedded corpus as memory-mapped Arrow, or as streams."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, Value, load_dataset
from datasets.exceptions import DatasetsError

from textvae.data.chitchat import load_chitchat
from textvae.data.corpus_files import Files, find_files, find_splits, listed
from textvae.data.file_corpus import load_files
from textvae.data.labels import match_labels, name_labels, refuse_streamed_labels
from textvae.errors import InputError

logger = logging.getLogger(__name__)

_MAX_VALIDATION_TEXTS = 5_000
_STREAMED_ROWS = 100_000
_IN_MEMORY = "what was given"  # the name in error messages of a corpus that is no file

Texts = Sequence[str] | Dataset | DatasetDict


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
        texts: in place of both, a list of texts, a dataset, or a `DatasetDict` with `train` and perhaps `validation`.
        text_column, target_column, label_column: names of the columns; a txt file has one column, of texts.
        validation_split: share of the texts that is held out if there is no validation file or split; at least 1 and
            at most 5,000 texts: a seeded sample, or every 1/share-th text when `streaming`.
        max_train_samples, max_validation_samples: keep only the first so many.

    Raises:
        InputError: for a file or dataset that is missing, empty, unreadable, of unknown format, without that
            column, or too small to be split; for one label or more than 1,000, a label that only the validation has,
            and labels of a stream.
    """
    _check_arguments(train_file, validation_file, dataset_name, texts, validation_split)
    if train_file is dataset_name is texts is None:
        _check_embedded(target_column, label_column)
    if label_column is not None and streaming:
        refuse_streamed_labels()
    columns = _columns(text_column, target_column, label_column)
    if texts is not None:
        splits = _in_memory(texts, columns)
    elif dataset_name is not None:
        splits = _load_named(dataset_name, dataset_config_name, columns, streaming)
    elif train_file is not None:
        splits = _load_splits(train_file, validation_file, columns, streaming)
    else:
        splits = load_chitchat(seed)
    if streaming:
        splits = {k: v.to_iterable_dataset() if isinstance(v, Dataset) else v for k, v in splits.items()}
    was_split = "validation" not in splits
    if was_split:
        splits = _split(splits["train"], validation_split, seed, listed(train_file or dataset_name or _IN_MEMORY))
    limits = {"train": max_train_samples, "validation": max_validation_samples}
    splits = {name: _first(splits[name], limit) for name, limit in limits.items()}
    if streaming:
        return IterableDatasetDict(cast(dict, splits))
    corpus = DatasetDict(cast(dict, splits))
    if label_column is not None:
        corpus["validation"] = match_labels(corpus["train"], corpus["validation"], was_split)
    return corpus


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


def _check_embedded(target_column: str | None, label_column: str | None) -> None:
    for name, column in (("target", target_column), ("label", label_column)):
        if column is not None:
            raise InputError(f"The embedded corpus has no {name}s: give a --train_file, or leave {name}_column out.")


def _columns(text_column: str, target_column: str | None, label_column: str | None) -> dict[str, str]:
    """The columns that become `text`, `target` and `label`, in this order."""
    columns = {"text": text_column}
    for what, column in (("target", target_column), ("label", label_column)):
        for other in columns:
            if column == columns[other]:
                raise InputError(
                    f"{other}_column and {what}_column are both {column!r}: name two, or leave the {what}s out."
                )
        if column is not None:
            columns[what] = column
    return columns


def check_strings(texts: Sequence[object]) -> None:
    """Raises InputError if one of the texts is no string, or cannot be written as UTF-8."""
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"Text {number} is of type {type(text).__name__}: give strings.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"Text {number} holds half a character at position {error.start} (a lone surrogate): remove it."
            ) from error


def _in_memory(texts: Texts, wanted: dict[str, str]) -> dict:
    if not isinstance(texts, Dataset | DatasetDict):
        texts = list(texts)
        check_strings(texts)
        texts = Dataset.from_dict({wanted["text"]: texts}, features=Features({wanted["text"]: Value("string")}))
    splits = texts if isinstance(texts, DatasetDict) else {"train": texts}
    if "train" not in splits:
        raise InputError(f"The datasets have no split 'train' but {', '.join(map(str, splits))}: give one that name.")
    return {name: _text_columns(splits[name], wanted, _IN_MEMORY) for name in ("train", "validation") if name in splits}


def _load_splits(train: Files, validation: Files | None, wanted: dict[str, str], streaming: bool) -> dict:
    """The splits of files; a directory may have its own validation split."""
    directory = _directory(train)
    files = {} if directory is None else find_splits(directory) or {}
    files = _train_and_validation(directory, files) if "train" in files else {"train": find_files(train)}
    if validation is not None:
        files["validation"] = find_files(validation)
    return {split: load_files(found, wanted, streaming) for split, found in files.items()}


def _directory(names: Files) -> Path | None:
    """The directory that is named, if it is the only name."""
    names = [names] if isinstance(names, str | Path) else list(names)
    path = Path(names[0]).expanduser() if len(names) == 1 else None
    return path if path is not None and path.is_dir() else None


def _train_and_validation(source: object, splits: Mapping) -> dict:
    if "train" not in splits:
        found = ", ".join(map(str, splits))
        raise InputError(f"The dataset {str(source)!r} has no split 'train' but {found}: save one under that name.")
    return {split: splits[split] for split in ("train", "validation") if split in splits}


def _load_named(name: str, config: str | None, wanted: dict[str, str], streaming: bool) -> dict:
    directory = _directory(name) if config is None else None
    if directory is not None and (files := find_splits(directory)) is not None:
        files = _train_and_validation(name, files)
        return {split: load_files(found, wanted, streaming) for split, found in files.items()}
    try:
        loaded = load_dataset(name, config, streaming=streaming)
    except (DatasetsError, OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"The dataset {name!r} could not be loaded: check its name and configuration ({reason})."
        ) from error
    splits = _train_and_validation(name, cast(Mapping, loaded))
    return {split: _text_columns(part, wanted, name) for split, part in splits.items()}


def _check_columns(names: Sequence[str], wanted: dict[str, str], source) -> None:
    for what, column in wanted.items():
        if column not in names:
            known = ", ".join(map(str, names))
            raise InputError(f"{source} has no column {column!r}: give --{what}_column one of {known}.")


def _text_columns(dataset: Dataset | IterableDataset, wanted: dict[str, str], source: str) -> Dataset | IterableDataset:
    columns = dataset.column_names or list(next(iter(dataset), dict.fromkeys(wanted.values())))
    _check_columns(columns, wanted, source)
    features, arguments = Features(dict.fromkeys(wanted, Value("string"))), {"wanted": wanted}
    if "label" in wanted and isinstance(dataset, Dataset):  # a stream has no labels
        arguments["label_feature"] = dataset.features[wanted["label"]]
    options = {"batched": True, "fn_kwargs": arguments, "remove_columns": columns, "features": features}
    texts = dataset.map(_drop_gaps, **options)
    if isinstance(dataset, Dataset) and isinstance(texts, Dataset) and (dropped := len(dataset) - len(texts)):
        gaps = "rows with a gap" if "label" in wanted else "pairs with a gap" if "target" in wanted else "blank texts"
        logger.warning("%s: %d %s were dropped", source, dropped, gaps)
    if next(iter(texts), None) is None:
        raise InputError(f"{source} holds no text: give one with words in it.")
    return texts


def _drop_gaps(batch: dict, wanted: dict[str, str], label_feature=None) -> dict:
    columns = {what: batch[column] for what, column in wanted.items()}
    if "label" in wanted:
        columns["label"] = name_labels(columns["label"], label_feature)
    rows = zip(*columns.values(), strict=True)
    whole = [row for row in rows if all(map(_has_words, row))]
    return {what: [str(row[place]) for row in whole] for place, what in enumerate(wanted)}


def _has_words(text: object) -> bool:
    return text is not None and bool(str(text).strip())


def _split(dataset: Dataset | IterableDataset, share: float, seed: int, source: str | None) -> dict:
    if isinstance(dataset, IterableDataset):
        stride = max(2, round(1 / share))
        train, held_out = (
            dataset.filter(_is_held_out, with_indices=True, fn_kwargs={"stride": stride, "wanted": wanted})
            for wanted in (False, True)
        )
        held_out = held_out.take(_MAX_VALIDATION_TEXTS)
    else:
        size = min(max(1, round(share * len(dataset))), _MAX_VALIDATION_TEXTS)
        order = np.random.default_rng(seed).permutation(len(dataset))
        train, held_out = dataset.select(np.sort(order[size:])), dataset.select(np.sort(order[:size]))
    if next(iter(train), None) is None:
        raise InputError(f"{source} holds one text and cannot be split: add texts, or give a --validation_file.")
    return {"train": train, "validation": held_out}


def _is_held_out(_: dict, index: int, stride: int, wanted: bool) -> bool:
    return (index % stride == 0) == wanted


def _first(dataset: Dataset | IterableDataset, limit: int | None) -> Dataset | IterableDataset:
    if limit is not None and limit < 1:
        raise InputError(f"The number of samples to keep is {limit}: give 1 or more.")
    if limit is None or (isinstance(dataset, Dataset) and limit >= len(dataset)):
        return dataset
    return dataset.take(limit)


def iterate_texts(dataset: Dataset | IterableDataset, columns: Sequence[str]) -> Iterator[str]:
    """The texts of these columns, row by row; of a stream, which may have no end, those of the first 100,000 rows."""
    rows = dataset.take(_STREAMED_ROWS) if isinstance(dataset, IterableDataset) else dataset
    return (row[column] for row in cast("Iterable[dict]", rows) for column in columns)

"""Corpora in: files, datasets and the embedded corpus as memory-mapped Arrow, or as streams."""

import codecs
import glob
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas
import pyarrow.parquet
from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, Value, load_dataset
from datasets.exceptions import DatasetsError

from textvae.data.chitchat import load_chitchat
from textvae.data.labels import match_labels, name_labels, refuse_streamed_labels
from textvae.errors import InputError

logger = logging.getLogger(__name__)

_FORMATS = {".txt": "text", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


_CHECKED_BYTES = 1 << 24
_MAX_VALIDATION_TEXTS = 5_000
_STREAMED_ROWS = 100_000
_IN_MEMORY = "what was given"  # the name in error messages of a corpus that is no file

Texts = Sequence[str] | Dataset | DatasetDict


def load_corpus(
    train_file: str | None = None,
    validation_file: str | None = None,
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
        train_file, validation_file: txt (one text per line), csv, tsv, jsonl, json or parquet, by suffix; UTF-8.
        dataset_name, dataset_config_name: a dataset of the Hub, in place of files.
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
        files = {"train": train_file, "validation": validation_file}
        splits = {k: _load_file(Path(v), columns, streaming) for k, v in files.items() if v is not None}
    else:
        splits = load_chitchat(seed)
    if streaming:
        splits = {k: v.to_iterable_dataset() if isinstance(v, Dataset) else v for k, v in splits.items()}
    was_split = "validation" not in splits
    if was_split:
        splits = _split(splits["train"], validation_split, seed, train_file or dataset_name or _IN_MEMORY)
    limits = {"train": max_train_samples, "validation": max_validation_samples}
    splits = {name: _first(splits[name], limit) for name, limit in limits.items()}
    if streaming:
        return IterableDatasetDict(cast(dict, splits))
    corpus = DatasetDict(cast(dict, splits))
    if label_column is not None:
        corpus["validation"] = match_labels(corpus["train"], corpus["validation"], was_split)
    return corpus


def load_texts(
    file: str, text_column: str = "text", target_column: str | None = None, label_column: str | None = None
) -> Dataset:
    """Load the texts of one file in their order, as `text` and, if asked for, `target` and `label`; see `load_corpus`.

    Any number of different labels will do.
    """
    return cast(Dataset, _load_file(Path(file), _columns(text_column, target_column, label_column), streaming=False))


def _check_arguments(train_file, validation_file, dataset_name, texts, validation_split) -> None:
    for name, value in (("train_file", train_file), ("dataset_name", dataset_name)):
        if texts is not None and value is not None:
            raise InputError(f"Both texts and the {name} {value!r} were given: keep one of the two.")
    if dataset_name is not None and (train_file is not None or validation_file is not None):
        raise InputError(f"Both a file and the dataset {dataset_name!r} were given: keep one of the two.")
    if validation_file is not None and train_file is None:
        raise InputError(f"A validation file ({validation_file}) was given without a train file: add --train_file.")
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
    """Raises InputError if one of the texts is no string."""
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"Text {number} is of type {type(text).__name__}: give strings.")


def _in_memory(texts: Texts, wanted: dict[str, str]) -> dict:
    if not isinstance(texts, Dataset | DatasetDict):
        texts = list(texts)
        check_strings(texts)
        texts = Dataset.from_dict({wanted["text"]: texts}, features=Features({wanted["text"]: Value("string")}))
    splits = texts if isinstance(texts, DatasetDict) else {"train": texts}
    if "train" not in splits:
        raise InputError(f"The datasets have no split 'train' but {', '.join(map(str, splits))}: give one that name.")
    return {name: _text_columns(splits[name], wanted, _IN_MEMORY) for name in ("train", "validation") if name in splits}


def _load_named(name: str, config: str | None, wanted: dict[str, str], streaming: bool) -> dict:
    try:
        loaded = load_dataset(name, config, streaming=streaming)
    except (DatasetsError, OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"The dataset {name!r} could not be loaded: check its name and configuration ({reason})."
        ) from error
    if "train" not in loaded:
        raise InputError(
            f"The dataset {name!r} has no split 'train' but {', '.join(map(str, loaded))}: save one under that name."
        )
    return {split: _text_columns(loaded[split], wanted, name) for split in ("train", "validation") if split in loaded}


def _load_file(path: Path, wanted: dict[str, str], streaming: bool) -> Dataset | IterableDataset:
    _check_file(path)
    kind = _FORMATS[path.suffix.lower()]
    if kind == "text":
        for what in ("target", "label"):
            if what in wanted:
                raise InputError(f"{path} has a text a line and no {what}s: give csv, tsv, jsonl or parquet.")
        wanted = {"text": "text"}
    try:
        with warnings.catch_warnings():
            # pandas only warns when a first row longer than the header loses its end
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            options = {"data_files": {"train": glob.escape(str(path))}, **_reading_options(path, kind, wanted)}
            loaded = load_dataset(kind, split="train", streaming=streaming, **options)
            return _text_columns(loaded, wanted, str(path))
    except InputError:
        raise
    except (DatasetsError, OSError, ValueError, TypeError) as error:
        reason = str(error.__cause__ or error).split("\n")[0]
        raise InputError(f"{path} could not be read as {path.suffix[1:]}: correct the file ({reason}).") from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no file {path}: check the path.")
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path} has an unknown ending: give one of {', '.join(_FORMATS)}.")
    with path.open("rb") as file:
        start = file.read(_CHECKED_BYTES)
    if not start:
        raise InputError(f"{path} is empty: give a file that holds texts.")
    if path.suffix.lower() == ".parquet":
        return
    if b"\0" in start:
        raise InputError(f"{path} is a binary file: give text in UTF-8.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start, final=len(start) < _CHECKED_BYTES)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): convert it, for instance with iconv.") from error


def _reading_options(path: Path, kind: str, wanted: dict[str, str]) -> dict:
    """Arguments for `load_dataset` that read a text as it is written, "007" and "NA" too."""
    if kind == "text":
        return {"encoding": "utf-8-sig"}
    if kind == "parquet":
        _check_columns(pyarrow.parquet.read_schema(path).names, wanted, path)
        return {"columns": list(wanted.values())}
    if kind == "csv":
        options = {"sep": "\t" if path.suffix.lower() == ".tsv" else ",", "encoding": "utf-8-sig", "index_col": False}
        names = list(pandas.read_csv(path, nrows=0, **options))
        _check_columns(names, wanted, path)
        return {**options, "keep_default_na": False, "converters": dict.fromkeys(names, str)}
    return {}


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

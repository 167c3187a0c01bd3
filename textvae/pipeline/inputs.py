"""What the verbs of a pipeline are given: texts, labels and z, checked.

N texts · Z latent_size
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow
import torch
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from pandas import DataFrame
from torch import Tensor

from textvae.data.corpora import check_strings
from textvae.data.given import Table, columns_of, dataset_of, is_table
from textvae.data.labels import label_ids, listed
from textvae.data.text_columns import plain
from textvae.errors import InputError, shown
from textvae.evaluation.evaluate import check_number

Texts = str | Iterable[str]
Label = str | int | Iterable[str | int] | None
Latents = Tensor | np.ndarray | Sequence


def as_list(texts: Texts, first: int = 0) -> tuple[list[str], bool]:
    """The texts as a list, and whether it was a single one; `first` is the number of the first one in messages.

    Raises:
        InputError: if a text is blank, no string or no UTF-8; for a table or a dictionary, whose items are names of
            columns and no texts.
    """
    single = isinstance(texts, str)
    items = [texts] if single else _items("texts", texts, "a string, or a list of strings")
    check_strings(items, first)
    for index, text in enumerate(items, first):
        if not text.strip():
            raise InputError(f"Text {index} is blank: leave it out, or write something.")
    return [str(text) for text in items], single  # those of numpy become strings of Python


def as_many(texts: Texts) -> list[str]:
    """Many texts as a list; raises InputError as `as_list`, and for a single string or a path."""
    if isinstance(texts, str | Path):
        raise InputError(
            f"Many texts are needed, not {shown(str(texts))}: give a list, or what textvae.data.load_texts reads of a "
            "file as its column 'text'."
        )
    return as_list(texts)[0]


def as_dataset(texts: Iterable[str] | Table | Dataset, label: Label, label_names: Sequence[str]) -> Dataset:
    """A plain dataset with the column `text`, and with these labels as its column `label`.

    Of a table the columns `text`, `target` and `label` are taken.

    Raises:
        InputError: for one string, a path, a stream or splits; if there are fewer than two texts, one is blank or no
            string, a table or dataset has no column `text`, or a label cannot be used.
    """
    _refuse_others(texts)
    texts = with_texts(texts)
    check_number(len(texts))
    if label is None:
        return texts
    ids = ids_of_labels(label, len(texts), label_names) or []
    others = texts.remove_columns([name for name in texts.column_names if name == "label"])
    return others.add_column("label", [label_names[i] for i in ids])


def with_texts(texts: Iterable[str] | Table | Dataset) -> Dataset:
    """A plain dataset with the column `text`, and perhaps others.

    Raises:
        InputError: if a text is blank or no string, or a table or dataset has no column `text`.
    """
    if is_table(texts):
        texts = _of_table(cast(Table, texts))
    elif isinstance(texts, Dataset):
        texts = cast(Dataset, plain(texts))
    else:
        return Dataset.from_dict({"text": as_list(cast(Texts, texts))[0]})
    _check_has_text(texts.column_names)
    for column in {"text", "target"} & set(texts.column_names):
        as_list(texts[column][:])
    return texts


def _refuse_others(texts: object) -> None:
    if isinstance(texts, str | Path):
        raise InputError(
            f"evaluate needs at least 2 texts, not {shown(str(texts))}: give a list, or what textvae.data.load_texts "
            "reads from a file."
        )
    if isinstance(texts, DatasetDict | IterableDatasetDict):
        raise InputError(f"evaluate takes one split: give one of {', '.join(map(str, texts))}, as in data[name].")


def _of_table(table: Table) -> Dataset:
    there = columns_of(table, "The table")
    _check_has_text(there)
    return dataset_of(table, {name: name for name in ("text", "target", "label") if name in there}, "The table")


def _check_has_text(columns: Iterable[str]) -> None:
    if "text" not in columns:
        raise InputError(f"The dataset has no column 'text' but {', '.join(map(str, columns))}: rename one.")


def ids_of_labels(label: Label, count: int, names: Sequence[str]) -> list[int] | None:
    """The label ids of `count` texts, from one label for all or a list of one for each; None if there are no names.

    Raises:
        InputError: if the model has labels and none is given, the other way round, or one is unknown.
    """
    if not names:
        if label is not None:
            raise InputError("This model has no labels: leave label out.")
        return None
    if label is None:
        raise InputError(f"This model has labels: give label, one of {listed(names)}, or a list of one for each.")
    one = isinstance(label, str | int | np.integer)
    labels = [label] * count if one else list(iter_labels(label))
    if len(labels) != count:
        raise InputError(f"There are {len(labels)} labels for {count}: give one for all, or a list of {count}.")
    return label_ids(labels, names)


def iter_labels(labels: Any) -> Iterator[str | int]:
    """Many labels, one by one: an iterator is given back as it is.

    Raises:
        InputError: if they are names of columns, bytes, or nothing that can be iterated.
    """
    if isinstance(labels, Iterator):
        return labels
    return iter(_items("label", labels, "a name, or a list of one for each text"))


def as_latents(latents: Latents, latent_size: int, first: int = 0) -> tuple[Tensor, bool]:
    """z as (N, Z) in fp32, and whether it was a single one, (Z,); `first` is the number of the first one in messages.

    Raises:
        InputError: if they are no numbers, of another shape, or one is not finite.
    """
    wanted = f"latents must be (N, {latent_size}) or ({latent_size},)"
    try:
        rows = _tensor(latents)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{wanted}, numbers of equal rows, not {shown(latents)}: give what encode gives.") from error
    if rows.shape == (0,):
        return rows.new_empty(0, latent_size), False
    if rows.dim() not in (1, 2) or rows.shape[-1] != latent_size:
        raise InputError(f"{wanted}, not {tuple(rows.shape)}: give what encode gives.")
    single = rows.dim() == 1
    rows = rows[None] if single else rows
    usable = has_norm(rows)
    if not usable.all():
        number = first + int(usable.int().argmin())
        raise InputError(f"z {number} is not finite, or far too large: give what encode gives.")
    return rows, single


def has_norm(latents: Tensor) -> Tensor:
    """Whether fp32 can hold the norm of each z (…, Z): (…). It cannot with a NaN, or with numbers above 1e19."""
    return latents.square().sum(-1).isfinite()


def _tensor(latents: Any) -> Tensor:
    """Numbers, and any nested lists of them, in fp32.

    Raises:
        TypeError, ValueError, OverflowError or RuntimeError: if they are no numbers, or the lists are ragged.
    """
    if isinstance(latents, Tensor):
        if latents.is_complex():
            raise TypeError("complex numbers")
        return latents.detach().to_dense().float()
    if not isinstance(latents, np.ndarray):
        if isinstance(latents, str | bytes | Mapping | DataFrame) or not isinstance(latents, Iterable):
            raise TypeError("no numbers")
        latents = list(latents)
        if latents and not all(isinstance(one, int | float | np.generic) for one in latents):
            return torch.stack([_tensor(row) for row in latents])
    with np.errstate(over="ignore"):
        numbers = np.array(latents)
        if numbers.dtype.kind not in "fiub":
            raise TypeError("no numbers")
        return torch.from_numpy(numbers.astype(np.float32))


def _items(name: str, values: Any, wanted: str) -> list:
    """What an iterable gives, if that is not the names of columns or the bytes of a text."""
    kind = type(values).__name__
    split = next(iter(values), None) if isinstance(values, DatasetDict | IterableDatasetDict) else None
    columns = _columns(values if split is None else values[split])
    if columns is not None:
        table = "data" if split is None else f"data[{split!r}]"
        some = " or ".join(f"{table}[{shown(column)}]" for column in columns[:5]) or "one with texts"
        raise InputError(f"{name} is of type {kind}, which holds texts by column: give {some}.")
    if isinstance(values, bytes | bytearray):
        raise InputError(f"{name} is of type {kind}: decode it first, as in text.decode().")
    try:
        items = iter(values)
    except TypeError as error:
        raise InputError(f"{name} is of type {kind}: give {wanted}.") from error
    return list(items)


def _columns(values: Any) -> list | None:
    """The names of the columns of a table, or the keys of a dictionary; None for anything else."""
    if isinstance(values, Mapping):
        return list(values)
    if isinstance(values, DataFrame):
        return list(values.columns)
    if isinstance(values, Dataset | IterableDataset | pyarrow.Table):
        return list(values.column_names or [])
    return None

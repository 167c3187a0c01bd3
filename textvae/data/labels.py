"""Labels, the classes of texts: their names in a dataset, and their ids in a model.

The column `label` of a dataset holds names. The column `label_id` holds their places in a model's `label_names`.
"""

import logging
from collections.abc import Sequence
from textwrap import shorten

import numpy as np
from datasets import ClassLabel, Dataset, IterableDataset

from textvae.errors import InputError, shown

logger = logging.getLogger(__name__)

MOST_LABELS = 1_000  # a column with more different values holds texts


def name_labels(values: Sequence, feature) -> list[str | None]:
    """The names of the labels in a column with this feature; None for a missing label.

    Raises:
        InputError: for a label that is neither a string nor an integer.
    """
    names = feature.names if isinstance(feature, ClassLabel) else None
    return [_name(value, names) for value in values]


def _name(value, names: list[str] | None) -> str | None:
    if value is None or value != value or (names is not None and value == -1):  # a NaN; what the Hub has for no label
        return None
    if names is not None:
        return names[value]
    if isinstance(value, float) and value.is_integer():  # an integer in a column with gaps, as pandas writes it
        value = int(value)
    if not isinstance(value, str | int | np.integer):
        raise InputError(
            f"The label {shorten(str(value), 50)} is neither a string nor an integer: name a --label_column of those."
        )
    return str(value).strip() or None


def refuse_streamed_labels() -> None:
    """Raises InputError: a model needs to know all labels before training starts."""
    raise InputError("The labels of a stream are not known before its end: leave streaming or label_column out.")


def labels_in(dataset: Dataset | IterableDataset) -> list[str]:
    """The different labels of a dataset, sorted; an empty list if it has no column `label`."""
    if not isinstance(dataset, Dataset) or "label" not in dataset.column_names:  # a stream has none
        return []
    return sorted(dataset.unique("label"))


def match_labels(train: Dataset, validation: Dataset, was_split: bool) -> Dataset:
    """The validation texts whose label occurs in training.

    Args:
        was_split: whether the validation texts were drawn at random from the training texts. Then those with a label
            that training has lost are dropped; otherwise they are an error.

    Raises:
        InputError: if training has only one label, or more than `MOST_LABELS`, or lacks one that the validation has.
    """
    known = labels_in(train)
    if len(known) == 1:
        raise InputError(f"Every training text has the label {known[0]!r}: add others, or leave label_column out.")
    if len(known) > MOST_LABELS:
        raise InputError(
            f"The label column has {len(known):,} different values, more than {MOST_LABELS:,}, and looks like text "
            "and not like labels: name another --label_column."
        )
    unknown = [name for name in labels_in(validation) if name not in known]
    if unknown and not was_split:
        raise InputError(
            f"The validation texts have the label {unknown[0]!r}, which no training text has: correct it, or add "
            "such texts to training."
        )
    if not unknown:
        return validation
    kept = [row for row, name in enumerate(validation["label"][:]) if name not in unknown]
    logger.warning(
        "%d held-out texts were dropped, as training has no other with their label", len(validation) - len(kept)
    )
    return validation.select(kept)


def number_labels(dataset: Dataset, label_names: Sequence[str]) -> Dataset:
    """Add the column `label_id` beside `label`, which may hold names, integers or the `ClassLabel` of the Hub.

    Raises:
        InputError: if there is no column `label`, or it has a gap or a label that is not among the names.
    """
    if "label" not in dataset.column_names:
        raise InputError(
            f"The model has labels ({listed(label_names)}), and the dataset no column 'label': add it, or give label."
        )
    names = name_labels(dataset["label"][:], dataset.features["label"])
    return dataset.add_column("label_id", label_ids(names, label_names))


def label_ids(names: Sequence[str | int | None], label_names: Sequence[str]) -> list[int]:
    """The id of each label: its place among the names.

    Raises:
        InputError: for one that is not among them.
    """
    places = {name: place for place, name in enumerate(label_names)}
    for name in names:
        if str(name) not in places:
            called = "A text without a label" if name is None else f"The label {shown(name)}"
            raise InputError(f"{called} cannot be used: the model's labels are {listed(label_names)}.")
    return [places[str(name)] for name in names]


def listed(label_names: Sequence[str]) -> str:
    more = len(label_names) - 10
    return ", ".join(label_names[:10]) + (f" and {more} more" if more > 0 else "")

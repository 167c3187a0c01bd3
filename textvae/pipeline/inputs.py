"""What the verbs of a pipeline are given: texts and numbers, checked."""

from collections.abc import Sequence

from datasets import Dataset

from textvae.data.corpora import check_strings
from textvae.errors import InputError
from textvae.evaluation.evaluate import check_number

Texts = str | Sequence[str]


def as_list(texts: Texts) -> tuple[list[str], bool]:
    """The texts as a list, and whether it was a single one.

    Raises:
        InputError: if a text is blank or no string.
    """
    single = isinstance(texts, str)
    texts = [texts] if single else list(texts)
    check_strings(texts)
    for index, text in enumerate(texts):
        if not text.strip():
            raise InputError(f"Text {index} is blank: leave it out, or write something.")
    return texts, single


def as_dataset(texts: Sequence[str] | Dataset) -> Dataset:
    """A dataset with the column `text`, from texts or from a dataset.

    Raises:
        InputError: if there are fewer than two texts, one is blank or no string, or a dataset has no column `text`.
    """
    check_number(len(texts))
    if not isinstance(texts, Dataset):
        return Dataset.from_dict({"text": as_list(texts)[0]})
    if "text" not in texts.column_names:
        raise InputError(f"The dataset has no column 'text' but {', '.join(texts.column_names)}: rename one.")
    for column in {"text", "target"} & set(texts.column_names):
        as_list(texts[column][:])
    return texts


def check_at_least(limit: int, **values: float) -> None:
    """Raises InputError for a value below the limit."""
    for name, value in values.items():
        if value < limit:
            raise InputError(f"{name} is {value}, it must be at least {limit}.")

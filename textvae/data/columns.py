"""The columns of a corpus: which of its own become `text`, `target` and `label`."""

from collections.abc import Iterable
from textwrap import shorten

from textvae.errors import InputError

Columns = dict[str, str]  # what a column becomes, in the order text, target, label → its name in the file


def check_columns(names: Iterable[str], columns: Columns, source: object) -> None:
    """Raises InputError if one of the columns is not among these names."""
    names = list(names)
    for what, column in columns.items():
        if column not in names:
            known = shorten(", ".join(map(str, names)), 200, placeholder=" …")
            raise InputError(f"{source} has no column {column!r}: give --{what}_column one of {known}.")


def gaps_of(columns: Iterable[str]) -> str:
    """What the rows of a corpus are called that lack one of its columns."""
    return "rows with a gap" if "label" in columns else "pairs with a gap" if "target" in columns else "blank texts"

"""Tables with a header line and delimited cells, csv and tsv, with every cell as it is written."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from textvae.data.columns import Columns, check_columns
from textvae.data.open_text import lines_of
from textvae.errors import InputError

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SAMPLE = 1_000  # lines that show how a table is written
_MANY_LINES = 100  # a cell of more lines has perhaps lost a quote
_END = "end of the table"

csv.field_size_limit(1 << 27)


class _Dialect(NamedTuple):
    """How a table is written, and its column names."""

    delimiter: str
    is_quoted: bool
    names: list[str]

    @property
    def options(self) -> dict:
        return {"delimiter": self.delimiter, "quoting": csv.QUOTE_MINIMAL if self.is_quoted else csv.QUOTE_NONE}


def table_rows(path: Path, promised: str, columns: Columns, note: Callable[[str], object]) -> Iterator[tuple]:
    """The cells of these columns, row by row; None where a row ends before a column.

    Cells between tabs are quoted only if the whole table is, see `_quotes`; a quote is otherwise a part of the text.

    Args:
        promised: the delimiter that the name of the file promises. The header may show another.
        note: takes what the user should hear.

    Raises:
        InputError: if a column is missing, a row has more cells than the header, or a quote is never closed.
    """
    sample = list(islice(lines_of(path), _SAMPLE))
    if not any(line.strip() for line in sample):
        return
    dialect = _dialect(path, sample, promised, columns, note)
    check_columns(dialect.names, columns, path)
    places = [dialect.names.index(column) for column in columns.values()]
    pick = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
    width = len(dialect.names)
    for number, row in _rows(path, dialect, note):
        if len(row) != width:
            row = _fitted(row, width, f"{path}, line {number}")
        yield pick(row)


def _fitted(row: list[str], width: int, place: str) -> list[str | None]:
    if any(row[width:]):
        raise InputError(
            f"{place} has {len(row)} cells and the header {width}: correct it, for instance with quotes around a text "
            "that holds the delimiter."
        )
    return [*row[:width], *[None] * (width - len(row))]


def _rows(path: Path, dialect: _Dialect, note: Callable[[str], object]) -> Iterator[tuple[int, list[str]]]:
    """The rows under the header, each with the number of its first line."""
    at_end = False

    def lines() -> Iterator[str]:
        nonlocal at_end
        for line in lines_of(path):
            yield line if line.endswith(("\n", "\r")) else line + "\n"
        at_end = True
        yield _END  # a row of its own, unless a quote is open

    reader, before, is_header, is_noted = csv.reader(lines(), **dialect.options), 0, True, False
    try:
        for row in reader:
            start, before = before + 1, reader.line_num
            if at_end and row and row[-1].endswith(_END):
                if row != [_END]:
                    raise _unclosed(path, reader.line_num - row[-1].count("\n"))
                return
            if before - start >= _MANY_LINES and not is_noted:
                is_noted = True
                note(
                    f"{path}: the row in line {start} has {before - start + 1} lines; if that is no text, it lacks a "
                    "quote"
                )
            if row and not is_header:
                yield start, row
            is_header = is_header and not row
    except csv.Error as error:
        raise InputError(f"{path}, line {before + 1} could not be read: correct it ({error}).") from error


def _unclosed(path: Path, line: int) -> InputError:
    return InputError(
        f"{path}, line {line} opens a quote that is never closed: close it, or write a quote in a text as two in a "
        "quoted cell."
    )


def _dialect(path: Path, sample: list[str], promised: str, columns: Columns, note: Callable[[str], object]) -> _Dialect:
    names = {delimiter: _header(sample, delimiter) for delimiter in _DELIMITERS}
    delimiter = _delimiter(names, promised, columns)
    if delimiter != promised:
        note(f"{path}: cells are separated by {_DELIMITERS[delimiter]}, as the header shows")
    return _Dialect(delimiter, delimiter != "\t" or _quotes(sample, delimiter), names[delimiter])


def _header(sample: list[str], delimiter: str) -> list[str]:
    rows = csv.reader(sample, delimiter=delimiter)
    return [name.strip() for name in next(row for row in rows if row)]


def _delimiter(names: dict[str, list[str]], promised: str, columns: Columns) -> str:
    """The promised delimiter, unless with it the columns are not there and the header shows one other."""
    wanted = set(columns.values())
    if wanted <= set(names[promised]):
        return promised
    for is_likely in (lambda found: wanted <= set(found), lambda found: len(found) > 1 == len(names[promised])):
        likely = [delimiter for delimiter, found in names.items() if delimiter != promised and is_likely(found)]
        if len(likely) == 1:
            return likely[0]
    return promised


def _quotes(sample: Sequence[str], delimiter: str) -> bool:
    """Whether the first rows are quoted consistently.

    That is, every cell but numbers is quoted, or exactly those cells are which need it: a writer of such tables would
    write the same lines again. In other tables a quote means nothing.
    """
    reader = csv.reader(sample, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, strict=True)
    try:
        for _ in reader:
            pass
        return True
    except ValueError:  # a cell that is neither quoted nor a number
        return _quotes_where_needed(sample, delimiter)
    except csv.Error:  # a quote within a cell; at the end of the sample it is a cell that goes on
        return reader.line_num == _SAMPLE


def _quotes_where_needed(sample: Sequence[str], delimiter: str) -> bool:
    lines = [line.rstrip("\r\n") for line in sample]
    rows = list(csv.reader([line + "\n" for line in lines], delimiter=delimiter))
    if len(lines) == _SAMPLE:
        rows.pop()  # perhaps only its beginning
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return '"' in written.getvalue() and "\n".join([*lines, ""]).startswith(written.getvalue())

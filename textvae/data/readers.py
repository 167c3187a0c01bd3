"""The rows of one corpus file, in its order and as they are written: a reader for each format."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet
from datasets import Dataset, Features, load_from_disk

from textvae.data.columns import Columns, check_columns
from textvae.data.labels import name_labels
from textvae.data.open_text import BROKEN_FILE, COMPRESSIONS, lines_of, unreadable
from textvae.data.tables import table_rows
from textvae.data.text_columns import holds_no_texts, holds_others, spelled
from textvae.errors import InputError

TEXT_FORMATS = (".txt", ".csv", ".tsv", ".jsonl", ".json")  # which may be compressed
FORMATS = (*TEXT_FORMATS, ".parquet", ".arrow")
SAVED_DATASET = "state.json"  # a file in each directory that `Dataset.save_to_disk` writes
_KEYED_ROWS = 10_000  # rows of a JSON file among which a column must occur
_BATCH_ROWS = 1_000

Row = tuple[str | None, ...]
Note = Callable[[str], object]


def format_of(path: Path) -> str | None:
    """The format of a file by its ending, without that of its compression; None if it is not known."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        suffix = path.with_suffix("").suffix.lower()
        return suffix if suffix in TEXT_FORMATS else None
    return suffix if suffix in FORMATS else None


def read_rows(path: Path, columns: Columns, note: Note) -> Iterator[Row]:
    """The values of these columns, row by row; None for a missing one. No other column is looked at.

    Args:
        path: a file of a known format, or a directory of `Dataset.save_to_disk`.
        note: takes a sentence about the file that the user should hear, such as that numbers are read as texts.

    Raises:
        InputError: when iterated, for a file that cannot be read, a column that it lacks, and a value that is no text;
            the message names the file and, where it has one, the line.
    """
    rows = _rows(path, columns, note)
    if "label" not in columns:
        return rows
    return ((*texts, label and label.strip()) for *texts, label in rows)


def _rows(path: Path, columns: Columns, note: Note) -> Iterator[tuple]:
    match format_of(path):
        case ".txt":
            return _text_rows(path, columns)
        case ".csv":
            return table_rows(path, ",", columns, note)
        case ".tsv":
            return table_rows(path, "\t", columns, note)
        case ".json" | ".jsonl":
            return _json_rows(path, columns, note)
        case ".parquet":
            return _readable(path, _parquet_rows(path, columns, note))
        case ".arrow":
            return _readable(path, _arrow_rows(path, columns, note))
    return _readable(path, _saved_rows(path, columns, note))


def _readable(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, and one sentence where they cannot be read on."""
    try:
        yield from rows
    except InputError:
        raise
    except (*BROKEN_FILE, ValueError) as error:
        raise unreadable(path, error) from error


def _text_rows(path: Path, columns: Columns) -> Iterator[Row]:
    for what in columns:
        if what != "text":
            raise InputError(f"{path} has a text a line and no {what}s: give csv, tsv, jsonl or parquet.")
    return ((line.rstrip("\r\n"),) for line in lines_of(path))


# JSON


class _Number(str):
    """A number as it is written."""


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=lambda name: None)


def _json_rows(path: Path, columns: Columns, note: Note) -> Iterator[Row]:
    names, missing, number = {}, set(columns.values()), 0
    for number, (unit, place, row) in enumerate(_json_values(path), 1):
        if type(row) is str:
            row = {"text": row}
        if not isinstance(row, dict):
            kind = "number" if isinstance(row, _Number) else type(row).__name__
            raise InputError(f"{path}, {unit} {place} is a {kind}: give an object with the columns, or a string.")
        if missing:
            names |= dict.fromkeys(row)
            missing -= row.keys()
            if missing and number == _KEYED_ROWS:
                check_columns(names, columns, path)
        values = tuple(map(row.get, columns.values()))
        if not all(type(value) is str and value.isascii() for value in values):
            pairs = zip(columns.items(), values, strict=True)
            values = tuple(_json_text(value, *pair, path, f"{unit} {place}", note) for pair, value in pairs)
        yield values
    if number and missing:
        check_columns(names, columns, path)


def _json_text(value: Any, what: str, column: str, path: Path, place: str, note: Note) -> str | None:
    """The text or label for a value of a column; numbers and truth values are spelled as in JSON."""
    if type(value) is _Number and what == "label" and value.isdigit():
        return str(value)
    is_number = isinstance(value, _Number)
    if what == "label" and isinstance(value, bool | _Number):
        return _names([json.loads(value) if is_number else value], None, f"{path}, {place}")[0]
    if isinstance(value, bool | _Number):
        note(f"{path}: the column {column!r} holds {'numbers' if is_number else 'true or false'}, read as texts")
        return str(value) if is_number else json.dumps(value)
    if value is not None and not isinstance(value, str):
        kind = type(value).__name__
        raise InputError(
            f"{path}, {place}: the column {column!r} holds a {kind} and no text: name another --{what}_column."
        )
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:
        half = json.dumps(error.object[error.start])
        raise InputError(
            f"{path}, {place}: the column {column!r} holds {half}, half of a character: correct the text."
        ) from error
    return value


def _names(labels: list, feature: Any, place: object) -> list[str | None]:
    try:
        return name_labels(labels, feature)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _json_values(path: Path) -> Iterator[tuple[str, int, Any]]:
    """The values of a file with one a line, or of one array, each with its place: `line` or `row`, and the number."""
    lines = lines_of(path)
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("["):
            values = _parsed(line + "".join(lines), path, number)
            yield from (("row", row, value) for row, value in enumerate(values, 1))
            return
        if not line.isspace():
            yield "line", number, _parsed(line.rstrip(), path, number)


def _parsed(text: str, path: Path, first_line: int) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        line, way_out = first_line + error.lineno - 1, "give one object a line, or one list of objects"
        raise InputError(f"{path}, line {line} could not be read as JSON: {way_out} ({error.msg}).") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line {first_line} could not be read as JSON: correct it ({error}).") from error


# Arrow: parquet, files of record batches, directories of `Dataset.save_to_disk`


def _parquet_rows(path: Path, columns: Columns, note: Note) -> Iterator[Row]:
    with pyarrow.parquet.ParquetFile(path) as file:
        _check_schema(file.schema_arrow, columns, path, note)
        batches = file.iter_batches(_BATCH_ROWS, columns=list(columns.values()))
        yield from _values(batches, file.schema_arrow, columns, path)


def _arrow_rows(path: Path, columns: Columns, note: Note) -> Iterator[Row]:
    with pyarrow.memory_map(str(path)) as file:
        schema, batches = _record_batches(file)
        _check_schema(schema, columns, path, note)
        yield from _values(batches, schema, columns, path)


def _record_batches(file: pyarrow.MemoryMappedFile) -> tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]:
    """Of a file that can be read in any order, or of a stream, as `datasets` writes it."""
    try:
        reader = pyarrow.ipc.open_file(file)
        return reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
    except pyarrow.ArrowInvalid:
        file.seek(0)
        stream = pyarrow.ipc.open_stream(file)
        return stream.schema, iter(stream)


def _saved_rows(path: Path, columns: Columns, note: Note) -> Iterator[Row]:
    dataset = cast(Dataset, load_from_disk(str(path)))
    schema = dataset.features.arrow_schema
    _check_schema(schema, columns, path, note)
    tables = dataset.select_columns(list(columns.values())).with_format("arrow").iter(_BATCH_ROWS)
    batches = (batch for table in tables for batch in cast(pyarrow.Table, table).to_batches())
    yield from _values(batches, schema, columns, path)


def _check_schema(schema: pyarrow.Schema, columns: Columns, path: Path, note: Note) -> None:
    check_columns(schema.names, columns, path)
    for what, column in columns.items():
        kind = schema.field(column).type
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        if holds_no_texts(kind):
            raise InputError(
                f"{path}: the column {column!r} is of type {kind} and holds no texts: name another --{what}_column."
            )
        if holds_others(kind) and what != "label":
            note(f"{path}: the column {column!r} is of type {kind}, whose values are read as texts")


def _values(
    batches: Iterator[pyarrow.RecordBatch], schema: pyarrow.Schema, columns: Columns, path: Path
) -> Iterator[Row]:
    label = columns.get("label")
    feature = label and Features.from_arrow_schema(pyarrow.schema([schema.field(label)], schema.metadata))[label]
    for batch in batches:
        values = {what: batch.column(name).to_pylist() for what, name in columns.items()}
        named = {
            what: _names(column, feature, path) if what == "label" else map(spelled, column)
            for what, column in values.items()
        }
        yield from zip(*named.values(), strict=True)

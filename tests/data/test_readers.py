import json

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from textvae.data.readers import read_rows
from textvae.errors import InputError

TEXT = {"text": "text"}


def read(path, columns=TEXT):
    """The rows of a file, and what its reader notes."""
    notes = {}
    return [*read_rows(path, columns, notes.setdefault)], [*notes]


def write(path, content: str):
    path.write_text(content, encoding="utf-8")
    return path


def as_json(path, rows):
    lines = [json.dumps(row) for row in rows]
    return write(path, "\n".join(lines) if path.suffix == ".jsonl" else f"[{', '.join(lines)}]")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_only_the_columns_asked_for_matter_in_json(tmp_path, name):
    texts = ["2020-01-01", "2020-01-02", None, "x\u2028y", "007"]
    others = [{"n": 1}, {"n": "two"}, {"n": [3]}, {"m": {}}, {"n": 1.5}]
    path = as_json(tmp_path / name, [{"text": text, **other} for text, other in zip(texts, others, strict=True)])
    assert read(path) == ([(text,) for text in texts], [])
    assert read(as_json(tmp_path / name, ["a", "b"]))[0] == [("a",), ("b",)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_numbers_are_texts_as_they_are_written_and_said_once(tmp_path, name):
    lines = ['{"text": 1.10}', '{"text": 12345678901234567890}', '{"text": true}', '{"text": "a"}', '{"text": NaN}']
    path = write(tmp_path / name, "\n".join(lines) if name == "a.jsonl" else f"[{','.join(lines)}]")
    rows, notes = read(path)
    assert rows == [("1.10",), ("12345678901234567890",), ("true",), ("a",), (None,)]
    assert len(notes) == 2 and all("the column 'text' holds" in note for note in notes)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"text": ["a"]}', "a.jsonl, line 3: the column 'text' holds a list and no text"),
        ('{"text": {"a": 1}}', "a.jsonl, line 3: the column 'text' holds a dict and no text"),
        ('{"text": "\\ud83d"}', "a.jsonl, line 3: the column 'text' holds .* half of a character"),
        ('{"text": "a"', "a.jsonl, line 3 could not be read as JSON"),
        ("7", "a.jsonl, line 3 is a number"),
    ],
)
def test_a_bad_line_of_json_is_named(tmp_path, line, told):
    with pytest.raises(InputError, match=told) as caught:
        read(write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n\n{line}\n{{"text": "b"}}\n'))
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_a_bad_row_of_an_array_is_named(tmp_path):
    with pytest.raises(InputError, match="a.json, row 2: the column 'text' holds a list"):
        read(as_json(tmp_path / "a.json", [{"text": "a"}, {"text": []}]))
    with pytest.raises(InputError, match="a.json, line 2 could not be read as JSON"):
        read(write(tmp_path / "a.json", '[{"text": "a"},\n{"text":}]'))


def test_a_column_that_no_line_has(tmp_path):
    path = as_json(tmp_path / "a.jsonl", [{"body": "a"}, {"body": "b", "n": 1}])
    with pytest.raises(InputError, match="no column 'text': give --text_column one of body, n"):
        read(path)
    late = [{"n": 1}] * 50 + [{"text": "a"}]
    assert read(as_json(tmp_path / "b.jsonl", late))[0][-2:] == [(None,), ("a",)]


def save(table: pyarrow.Table, path) -> None:
    """As the kind of file that the name says."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".arrow":
        kind = pyarrow.ipc.new_stream if path.stem == "stream" else pyarrow.ipc.new_file
        with pyarrow.OSFile(str(path), "wb") as file, kind(file, table.schema) as writer:
            writer.write_table(table)
    else:
        Dataset(table).select(range(len(table))).save_to_disk(path)


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow", "stream.arrow", "saved"])
def test_arrow_in_every_shape(tmp_path, name):
    features = Features({"n": Value("int64"), "text": Value("string"), "mood": ClassLabel(names=["sad", "glad"])})
    rows = {"n": [1, None, 3], "text": ["007", "NA", None], "mood": [1, 0, -1]}
    save(Dataset.from_dict(rows, features).data.table, tmp_path / name)
    labelled = read(tmp_path / name, {"text": "text", "label": "mood"})
    assert labelled == ([("007", "glad"), ("NA", "sad"), (None, None)], [])
    rows, notes = read(tmp_path / name, {"text": "n"})
    assert rows == [("1",), (None,), ("3",)] and len(notes) == 1 and "int64" in notes[0]
    with pytest.raises(InputError, match="no column 'body': give --text_column one of n, text, mood"):
        read(tmp_path / name, {"text": "body"})


@pytest.mark.parametrize("values", [[["a"]], [{"a": "b"}], [b"a"]])
def test_columns_that_hold_no_texts_are_refused_with_their_type(tmp_path, values):
    save(pyarrow.table({"x": values}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="a.parquet: the column 'x' is of type .* holds no texts"):
        read(tmp_path / "a.parquet", {"text": "x"})


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_what_is_no_arrow_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"{name} could not be read"):
        read(write(tmp_path / name, "PAR1 but no more"))

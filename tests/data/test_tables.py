import csv
import io

import pytest

from textvae.data.tables import table_rows
from textvae.errors import InputError

COLUMNS = {"text": "text"}


def read(path, content, columns=COLUMNS):
    """The rows of a table, and what its reader notes."""
    notes = {}
    path.write_text(content, encoding="utf-8", newline="")
    return [*table_rows(path, "\t" if path.suffix == ".tsv" else ",", columns, notes.setdefault)], [*notes]


def written(rows, **options) -> str:
    file = io.StringIO()
    csv.writer(file, **options).writerows(rows)
    return file.getvalue()


def test_quotes_in_a_tsv_are_parts_of_its_texts(tmp_path):
    texts = [f"text {i}" for i in range(2_000)]
    texts[100], texts[1_900], texts[1_950] = '"Yes', 'he said "no"', '"Hello"'
    rows, notes = read(tmp_path / "a.tsv", "id\ttext\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(texts)))
    assert rows == [(text,) for text in texts] and not notes


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("repeats", [1, 700])  # the second is longer than what is looked at first
def test_a_tsv_that_is_quoted_throughout_is_read_so(tmp_path, quoting, repeats):
    texts = ['she said "hi"', "with a\ttab", "two\nlines", "plain"] * repeats
    content = written([("id", "text"), *enumerate(texts)], delimiter="\t", quoting=quoting)
    assert read(tmp_path / "a.tsv", content)[0] == [(text,) for text in texts]


def test_a_quote_that_swallows_rows_of_a_csv_is_said_once(tmp_path):
    lines = ["id,text", *(f"{i},text {i}" for i in range(900))]
    for line in (11, 300, 401, 800):  # each second one closes what the one before has opened
        lines[line - 1] = f'{line},"text' if line in (11, 401) else f'{line} text"'
    rows, notes = read(tmp_path / "a.csv", "\n".join(lines))
    assert len(rows) == 900 - 289 - 399 and len(notes) == 1
    assert "a.csv: the row in line 11 has 290 lines" in notes[0]


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_is_never_closed_is_refused_with_its_line(tmp_path, end):
    with pytest.raises(InputError, match="a.csv, line 4 opens a quote that is never closed"):
        read(tmp_path / "a.csv", 'id,text\n1,"two\nlines"\n2,"never\n3,closed\n4,again' + end)
    assert read(tmp_path / "b.csv", 'id,text\n1,"closed"' + end)[0] == [("closed",)]


@pytest.mark.parametrize(
    ("name", "content", "text", "noted"),
    [
        ("a.csv", "id;text\n1;a, b\n", "a, b", "semicolons"),
        ("a.csv", 'id\ttext\n1\t"a, b\n', '"a, b', "tabs"),
        ("a.tsv", 'id,text\n1,"a, b"\n', "a, b", "commas"),
        ("a.csv", "text\na; b\n", "a; b", None),
        ("a.csv", "x;y,text\n1,a; b\n", "a; b", None),
    ],
)
def test_another_delimiter_is_found_in_the_header_and_said(tmp_path, name, content, text, noted):
    rows, notes = read(tmp_path / name, content)
    assert rows == [(text,)] and len(notes) == (noted is not None) and all(noted in note for note in notes)


def test_the_columns_of_an_error_are_those_of_the_delimiter_in_use(tmp_path):
    with pytest.raises(InputError, match="no column 'text': give --text_column one of id, body"):
        read(tmp_path / "a.csv", "id;body\n1;a\n")


def test_rows_of_another_length(tmp_path):
    assert read(tmp_path / "a.csv", "id,text\n\n1\n2,b,,\n3,c\n")[0] == [(None,), ("b",), ("c",)]
    with pytest.raises(InputError, match="a.csv, line 5 has 3 cells and the header 2"):
        read(tmp_path / "a.csv", 'id,text\n1,"a\nb"\n\n2,a,b\n')


def test_cells_are_as_they_are_written(tmp_path):
    columns = {"text": "text", "label": "label"}
    rows = [("NA", "01"), ("null", "1.0"), (" 007 ", "nan"), ("x" * 200_000, "2020-01-01"), ("a\r\nb", "é")]
    assert read(tmp_path / "a.csv", written([("label", "text"), *(row[::-1] for row in rows)]), columns)[0] == rows

"""Rows are printed as they come, and kept in a file."""

import csv

import pytest

from textvae.cli.rows import Rows
from textvae.errors import InputError


def test_each_row_is_printed_and_kept_when_it_comes(tmp_path, capsys):
    rows = Rows(str(tmp_path / "rows.csv"), {"bleu": 1})
    row = {"way": "one", "texts": 20, "bleu": 12.3456, "exact": 0.12345, "exact_standard_error": 0.5}
    rows.add(row)
    lines = ["| way | texts | bleu | exact |", "|---|---|---|---|", "| one | 20 | 12.3 | 0.123 |"]
    assert capsys.readouterr().out.splitlines() == lines
    rows.add(row | {"way": "two"})
    assert capsys.readouterr().out.splitlines() == ["| two | 20 | 12.3 | 0.123 |"]
    with (tmp_path / "rows.csv").open() as file:
        kept = [*csv.DictReader(file)]
    assert [own["way"] for own in kept] == ["one", "two"]
    assert all(own[name] == str(row[name]) for own in kept for name in row if name != "way")


def test_an_output_that_cannot_be_written_is_told_at_once(tmp_path):
    with pytest.raises(InputError, match="in no directory that exists"):
        Rows(str(tmp_path / "absent" / "rows.csv"))

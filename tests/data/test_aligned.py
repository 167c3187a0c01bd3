"""Aligned texts: rows that belong together, from one table or several files, and none is shifted by a gap."""

import logging

import pytest
from tiny_runs import write_lines

from textvae.data.aligned import Column, load_aligned
from textvae.errors import InputError


def test_columns_and_files_of_the_same_rows_are_read_alike(tmp_path):
    table = write_lines(tmp_path / "all.tsv", ["source\tone\ttwo", "a b\tc d\te", "f\tg\th i"])
    rows = [["a b", "f"], ["c d", "g"], ["e", "h i"]]
    columns = [Column(table, "source"), Column(table, "one", "reference"), Column(table, "two", "reference")]
    assert load_aligned(columns) == rows
    files = [write_lines(tmp_path / f"{number}.txt", texts) for number, texts in enumerate(rows)]
    assert load_aligned([Column(file) for file in files]) == rows
    assert load_aligned([columns[0], Column(files[2])]) == [rows[0], rows[2]]


def test_a_row_with_a_gap_is_dropped_from_all_files(tmp_path, caplog):
    one = write_lines(tmp_path / "one.txt", ["a", "", "c", "d"])
    two = write_lines(tmp_path / "two.txt", ["e", "f", "  ", "h"])
    with caplog.at_level(logging.WARNING):
        assert load_aligned([Column(one), Column(two)]) == [["a", "d"], ["e", "h"]]
    assert "2 rows with a gap" in caplog.text


def test_what_is_not_aligned_is_refused(tmp_path):
    one, two = write_lines(tmp_path / "one.txt", ["a", "b"]), write_lines(tmp_path / "two.txt", ["c"])
    table = write_lines(tmp_path / "table.csv", ["source,other", "a,b"])
    gaps = write_lines(tmp_path / "gaps.txt", ["", "  "])
    for columns, told in [
        ([Column(one), Column(two)], "two.txt has 1 rows and .*one.txt has 2"),
        ([Column(one), Column(gaps)], "no row without a gap"),
        ([Column(table, "source"), Column(table, "third", "reference")], "no column 'third': give --reference_column"),
        ([Column(one), Column(one, "other", "reference")], "no references"),
        ([Column(tmp_path / "nowhere.txt")], "nowhere.txt"),
    ]:
        with pytest.raises(InputError, match=told):
            load_aligned(columns)

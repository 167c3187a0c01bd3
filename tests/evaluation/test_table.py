"""The table of a report."""

from textvae.evaluation.table import EXPLAINED, as_csv, as_markdown, report_table

REPORT = {
    "iw_nll": 101.456,
    "iw_nll_standard_error": 0.7891,
    "kl": 0.1234,
    "kl_standard_error": 0.01234,
    "active_units": 32,
    "active_units_standard_error": 0.251,
    "bleu": 12.0,
    "num_texts": 3761,
    "num_unknown": 0,
    "training_seconds": 12.3,
}


def test_values_come_with_their_standard_error_and_counts_stand_below():
    header, line, *rows, blank, counts = report_table(REPORT).split("\n")
    values = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[1] for row in rows}
    assert (header, line) == ("|  |  |  |", "|---|---|---|")
    assert values == {
        "iw_nll": "101.46 ± 0.79",
        "kl": "0.123 ± 0.012",
        "active_units": "32 ± 0.25",
        "bleu": "12.00",
    }
    assert (blank, counts) == ("", "num_texts 3,761, num_unknown 0, training_seconds 12.30")


def test_no_row_of_the_table_breaks_its_cells():
    for row in report_table(dict.fromkeys(EXPLAINED, 0.5)).split("\n")[:-2]:
        assert row.count("|") == 4


def test_rows_become_markdown_and_csv():
    rows = [("one", "1.5"), ("two", "–")]
    assert as_markdown(["name", "value"], rows) == "| name | value |\n|---|---|\n| one | 1.5 |\n| two | – |"
    assert as_markdown(["name", "value"], rows, right=True).split("\n")[1] == "|---|---:|"
    assert as_csv([{"name": "a,b", "value": 0.1 + 0.2}, {"name": "c", "count": 3}]) == (
        'name,value,count\n"a,b",0.30000000000000004,\nc,,3\n'
    )

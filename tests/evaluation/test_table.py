"""The table of a report."""

from textvae.evaluation.table import EXPLAINED, table

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
    *rows, blank, counts = table(REPORT).split("\n")
    values = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[1] for row in rows[2:]}
    assert values == {
        "iw_nll": "101.46 ± 0.79", "kl": "0.123 ± 0.012", "active_units": "32 ± 0.25", "bleu": "12.00",
    }  # fmt: skip
    assert (blank, counts) == ("", "num_texts 3,761, num_unknown 0, training_seconds 12.30")


def test_no_row_of_the_table_breaks_its_cells():
    for row in table(dict.fromkeys(EXPLAINED, 0.5)).split("\n")[:-2]:
        assert row.count("|") == 4

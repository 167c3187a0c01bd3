"""MIG, DCI and SAP on codes whose values are known by hand."""

import math

import numpy as np
import pytest

from textvae.errors import InputError
from textvae.evaluation.disentanglement import (
    TITLES,
    completeness,
    disentanglement,
    importances,
    measure_factors,
    mutual_information_gap,
    separated_predictability,
)

# Two independent factors of two values, 25 texts of each combination: one bit each.
SIGNS = np.tile([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], (25, 1))
BOTH = {"first": ["ab"[int(sign > 0)] for sign in SIGNS[:, 0]], "second": [bool(sign > 0) for sign in SIGNS[:, 1]]}


def sap(codes: np.ndarray) -> float:
    return separated_predictability(codes, BOTH, codes, BOTH)


def test_codes_that_are_the_factors_are_disentangled():
    assert mutual_information_gap(SIGNS, BOTH) == pytest.approx(1)
    assert sap(SIGNS) == pytest.approx(1 - 0.5)  # the second best dimension guesses
    importance, informativeness = importances(SIGNS, BOTH, SIGNS, BOTH)
    assert importance == pytest.approx(np.eye(2)) and informativeness == 1
    assert disentanglement(importance) == pytest.approx(1) and completeness(importance) == pytest.approx(1)


def test_codes_that_are_rotated_by_45_degrees_have_no_gap():
    """Each dimension has three values and half a bit of each factor."""
    rotated = SIGNS @ np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    assert mutual_information_gap(rotated, BOTH) == pytest.approx(0)
    assert sap(rotated) == pytest.approx(0)
    importance, informativeness = importances(rotated, BOTH, rotated, BOTH)
    assert informativeness == 1 and disentanglement(importance) < 0.1 > completeness(importance)


def test_a_dimension_that_mixes_both_factors_costs_half_of_the_gap():
    """The sum has half a bit of each; the other dimension has one bit of the first factor and none of the second."""
    mixed = np.stack([SIGNS[:, 0], SIGNS.sum(1)], axis=1)
    assert mutual_information_gap(mixed, BOTH) == pytest.approx((0.5 + 0.5) / 2)


def test_two_dimensions_for_one_factor_have_no_gap_for_it():
    twice = np.concatenate([SIGNS, SIGNS[:, :1]], axis=1)
    assert mutual_information_gap(twice, BOTH) == pytest.approx((0 + 1) / 2)
    assert sap(twice) == pytest.approx((0 + 0.5) / 2)


@pytest.mark.parametrize(("value", "information"), [(0.54, 0), (0.56, 1)])
def test_twenty_bins_are_of_equal_width(value, information):
    """Of a dimension from 0 to 1, 0.51 and 0.54 are in one bin, 0.56 is in the next."""
    code = np.where(SIGNS[:, 0] > 0, 0.51, value)
    code[:4] = [0, 1, 0, 1]  # as often with either value of the first factor
    codes = np.stack([code, np.zeros(100)], axis=1)
    assert mutual_information_gap(codes, BOTH) == pytest.approx(information / 2, abs=0.05)


def test_a_constant_dimension_says_nothing_and_changes_nothing():
    codes = np.concatenate([SIGNS, np.zeros((100, 1))], axis=1)
    assert mutual_information_gap(codes, BOTH) == pytest.approx(1) and sap(codes) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("importance", "of_rows", "of_columns"),
    [
        ([[1, 0], [0, 1]], 1, 1),
        ([[1, 1], [1, 1]], 0, 0),
        ([[1, 0], [0.5, 0.5]], 1 / 2, 0.75 * (1 - 0.9182958) + 0.25),  # columns of (2, 1) / 3 and (0, 1)
        ([[1, 0], [0, 1], [0, 0]], 1, 1),  # the last dimension counts for nothing
        ([[0.5, 0], [0.5, 0], [0, 1]], 1, 0.5 * (1 - math.log(2) / math.log(3)) + 0.5),
        ([[0, 0], [0, 0]], 0, 0),
    ],
)
def test_entropies_of_importances(importance, of_rows, of_columns):
    importance = np.array(importance, dtype=float)
    assert disentanglement(importance) == pytest.approx(of_rows)
    assert completeness(importance) == pytest.approx(of_columns)


def test_independent_codes_say_about_nothing():
    codes, others = np.random.default_rng(1).standard_normal((2, 100, 3))
    found = measure_factors(codes, BOTH, others, BOTH)
    assert list(found) == ["first", "second", *TITLES]
    assert found["mig"] < 0.15 and found["sap"] < 0.15  # 20 bins of 100 texts have some information by chance
    assert all(0.3 < found[name] < 0.7 for name in ("first", "second", "dci_informativeness"))
    assert found["dci_disentanglement"] < 0.2


def test_order_scale_and_shift_of_the_dimensions_change_nothing():
    codes = np.concatenate([SIGNS, SIGNS.sum(1, keepdims=True)], axis=1) + 0.7 * np.random.default_rng(2).normal(
        size=(100, 3)
    )
    other = 4 * codes[:, [2, 0, 1]] + 3
    for measure in (mutual_information_gap, lambda *given: separated_predictability(*given, *given)):
        assert measure(other, BOTH) == pytest.approx(measure(codes, BOTH))
    first, second = (importances(each, BOTH, each, BOTH) for each in (codes, other))
    assert second[0] == pytest.approx(first[0][[2, 0, 1]], abs=0.02) and second[1] == pytest.approx(first[1])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="two of each"):
        measure_factors(SIGNS[:, :1], BOTH, SIGNS[:, :1], BOTH)
    with pytest.raises(InputError, match="two of each"):
        measure_factors(SIGNS, {"first": BOTH["first"]}, SIGNS, BOTH)
    with pytest.raises(InputError, match="'third' has the same value"):
        measure_factors(SIGNS, BOTH | {"third": ["x"] * 100}, SIGNS, BOTH)

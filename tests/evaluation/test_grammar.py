"""Sentences of the grammar: right English, and each combination of factors once."""

import pytest

from textvae.evaluation.grammar import FACTORS, sentence, sentences


@pytest.mark.parametrize(
    ("tense", "number", "negation", "text"),
    [
        ("present", "singular", "no", "the child finds the river"),
        ("present", "plural", "no", "the children find the river"),
        ("present", "singular", "yes", "the child does not find the river"),
        ("present", "plural", "yes", "the children do not find the river"),
        ("past", "singular", "no", "the child found the river"),
        ("past", "plural", "no", "the children found the river"),
        ("past", "singular", "yes", "the child did not find the river"),
        ("past", "plural", "yes", "the children did not find the river"),
        ("future", "singular", "no", "the child will find the river"),
        ("future", "plural", "no", "the children will find the river"),
        ("future", "singular", "yes", "the child will not find the river"),
        ("future", "plural", "yes", "the children will not find the river"),
    ],
)
def test_verbs_agree(tense, number, negation, text):
    assert sentence("child", "find", "river", tense, number, negation) == text


def test_each_combination_is_there_once_and_the_text_says_all_of_it():
    rows = sentences()
    assert len(rows) == len({row["text"] for row in rows}) == 6 * 6 * 6 * 3 * 2 * 2
    for name, values in FACTORS.items():
        counts = {value: sum(row[name] == value for row in rows) for value in values}
        assert set(counts.values()) == {len(rows) // len(values)}


def test_the_order_follows_the_seed():
    assert sentences(1) == sentences(1) != sentences(2)
    assert sorted(row["text"] for row in sentences(1)) == sorted(row["text"] for row in sentences(2))

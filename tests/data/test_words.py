"""Words: what makes no other text, and how many words two texts are apart."""

import pytest

from textvae.data.words import bare_words, exact_words, word_distance


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("I like it, too!", "  i like   it too"),
        ("(Yes.)", "yes"),
        ("ﬁne", "Fine ..."),
        ("它很好。", "它 很 好"),
        ("?!", ""),
    ],
)
def test_case_spaces_and_punctuation_make_no_other_text(text, other):
    assert bare_words(text) == bare_words(other)


def test_what_is_inside_a_word_stays():
    assert bare_words("C++ isn't C, it's 3.5 times «older»") == ("c++", "isn't", "c", "it's", "3.5", "times", "older")


@pytest.mark.parametrize(
    ("words", "others", "distance"),
    [("a b c", "a b c", 0), ("a b c", "a c", 1), ("a b", "b a", 2), ("", "a b", 2), ("a b c d", "x b d", 2)],
)
def test_distance_counts_words_inserted_deleted_and_replaced(words, others, distance):
    assert word_distance(words.split(), others.split()) == distance
    assert word_distance(others.split(), words.split()) == distance


def test_every_character_counts_where_a_text_comes_back_as_it_is():
    assert exact_words("c1ccccc1") != exact_words("C1CCCCC1") and exact_words("CC(C)") != exact_words("CC(C")
    assert exact_words(" a  b ") == ("a", "b") and exact_words("它很好") == ("它", "很", "好")

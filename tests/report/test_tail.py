"""The tail: the tokens of a text are found in it, whatever the tokenizer made of them."""

import pytest
from tiny_pipelines import TEXTS, build

from textvae.report.tail import MARKED, Span, most_unusual, spans


def test_tokens_are_parts_of_the_text():
    tokens = [("I", 1.0), ("wonder", 9.0), ("ful", 2.0), (",", 0.1), ("day", 3.0), ("</s>", 8.0)]
    found = spans("I wonderful, day", tokens)
    assert "".join(one.text for one in found) == "I wonderful, day"
    assert [(one.text, one.nats) for one in found if one.nats is not None] == tokens[:-1]
    assert [one.text for one in found if one.is_marked] == ["wonder", "ful", "day"]


def test_tokens_of_another_form_stand_as_they_are():
    found = spans("Ｉ  LIKE it", [("i", 1.0), ("like", 2.0), ("it", 3.0)])
    assert [one.text for one in found if one.nats is not None] == ["i", "like", "it"]
    assert spans("we", []) == [Span("we")]


@pytest.mark.parametrize("decoder", ["gru", "llama"])
def test_the_most_unusual_come_first_and_have_no_p_value_without_a_detector(decoder):
    pipeline = build(decoder)
    found = most_unusual(pipeline, TEXTS, None, 3)
    terms = pipeline.score(TEXTS, num_samples=1, return_terms=True)
    expected = sorted((one.negative_elbo / one.num_tokens for one in terms), reverse=True)[:3]
    assert [one.score for one in found] == pytest.approx(expected, rel=1e-4)
    assert all(one.p_value is None and sum(span.is_marked for span in one.spans) <= MARKED for one in found)

"""How well scores tell texts apart, on cases that are known by hand."""

import math

import pytest
import torch

from textvae import InputError
from textvae.evaluation.detection import (
    auroc,
    false_alarms,
    isolation_score,
    length,
    pyod_score,
    tf_idf_distance,
    unigram_nll,
)

NORMAL = ["we like pizza", "we like the garden", "the garden is green", "we like the movie", "pizza is green"]


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    normal, unusual = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert auroc(normal, unusual) == pytest.approx((1.5 + 3) / 6)
    assert auroc(unusual, normal) == pytest.approx(1 - 4.5 / 6)
    assert auroc(normal, normal) == 0.5


def test_false_alarms_are_counted_where_nearly_all_unusual_texts_are_found():
    normal, unusual = torch.arange(100.0), torch.arange(100.0) + 50.5
    assert false_alarms(normal, unusual) == pytest.approx(0.44)  # 95 of them score at least 55.5
    assert false_alarms(normal, unusual, recall=1.0) == pytest.approx(0.49)
    assert false_alarms(normal, normal + 1000) == 0


def test_both_kinds_are_needed():
    with pytest.raises(InputError, match="both"):
        auroc(torch.tensor([1.0]), torch.tensor([]))


def test_a_unigram_model_gives_nats():
    total = 18 + 8 + 1  # words, distinct words, one for unknown ones
    found = unigram_nll(NORMAL, ["we like", "zebra", "we like we like"])
    expected = math.log(total / 4) * 2
    assert found == pytest.approx([expected, math.log(total), 2 * expected])
    assert length(["ab", "c d"]) == [2, 3]


@pytest.mark.parametrize(("analyzer", "ngrams"), [("word", (1, 1)), ("char_wb", (2, 5))])
def test_a_normal_text_has_no_distance_and_a_strange_one_the_largest(analyzer, ngrams):
    same, near, strange = tf_idf_distance(NORMAL, [NORMAL[2], "the green garden", "qqq"], analyzer, ngrams, 1)
    assert same == pytest.approx(0, abs=1e-6) and 0 < near < strange == 1


def test_an_isolation_forest_scores_the_same_twice():
    texts = [NORMAL[0], "pizza movie green garden"]
    found = isolation_score(NORMAL, texts)
    assert found.shape == (2,) and (found == isolation_score(NORMAL, texts)).all() and (found > 0).all()


class Letters:
    """A sentence encoder that counts some letters."""

    def embed(self, texts):
        return torch.tensor([[float(text.count(letter)) for letter in "aeik"] for text in texts])


def test_a_detector_of_pyod_reads_vectors_of_texts():
    pytest.importorskip("pyod")
    usual, strange = pyod_score(Letters(), "KNN", NORMAL * 4, [NORMAL[1], "kkkk kkkk aaaa"])
    assert usual < strange
    with pytest.raises(InputError, match="no detector 'KN'"):
        pyod_score(Letters(), "KN", NORMAL, NORMAL)

import numpy as np
import pytest
from datasets import Dataset

from textvae.data.splits import split


def numbers(size):
    return Dataset.from_dict({"text": [str(i) for i in range(size)]})


@pytest.mark.parametrize(("size", "wanted"), [(2, 1), (3, 2), (74, 2), (75, 2), (1000, 20), (5000, 100), (6000, 120)])
def test_two_texts_at_least_are_held_out_and_few_are_said(size, wanted, caplog):
    parts = split(numbers(size), 0.02, 0, "mine")
    assert len(parts["validation"]) == wanted and len(parts["train"]) == size - wanted
    assert (f"mine: {wanted} of {size} texts are held out" in caplog.text) is (wanted < 100)


def test_the_sample_depends_on_seed_and_size_alone():
    order = np.random.default_rng(3).permutation(5000)
    parts = split(numbers(5000), 0.02, 3, "mine")
    assert parts["validation"]["text"][:] == [str(i) for i in sorted(order[:100])]
    assert parts["train"]["text"][:] == [str(i) for i in sorted(order[100:])]

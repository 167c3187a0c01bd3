"""Inference batches: every text once, the longest first, shared out evenly among the processes."""

from itertools import chain

import numpy as np
import pytest
import torch

from textvae.data.inference_batches import InferenceBatches, length_sorted_rounds
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize
from textvae.data.tokenizer_pair import TokenizerPair

LENGTHS = np.random.default_rng(0).integers(1, 9, 50).tolist()  # of which many are equal


def rounds_of(indices, batch_size, process_index=0, num_processes=1):
    return list(length_sorted_rounds(indices, LENGTHS, batch_size, "reading", process_index, num_processes))


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
@pytest.mark.parametrize("indices", [range(50), [41, 3, 17, 8, 20, 5, 33], [9], []], ids=len)
def test_every_index_comes_once_and_the_longest_first(indices, batch_size):
    rounds = rounds_of(indices, batch_size)
    assert all(len(batches) == 1 for batches in rounds)
    batches = [batch for (batch,) in rounds]
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    order = list(chain.from_iterable(batches))
    assert sorted(order) == sorted(indices)
    assert order == sorted(order, key=lambda index: (-LENGTHS[index], index)), "equal ones in their order"


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
@pytest.mark.parametrize("indices", [range(50), [41, 3, 17, 8, 20, 5, 33], [9], []], ids=len)
def test_three_processes_have_as_many_rounds_and_read_together_what_one_reads(indices, batch_size):
    processes = [rounds_of(indices, batch_size, process_index, 3) for process_index in range(3)]
    assert len({len(rounds) for rounds in processes}) == 1
    assert all(len(batches) == 1 for rounds in processes for batches in rounds[:-1])
    together = [batch for rounds in zip(*processes, strict=True) for batches in rounds for batch in batches]
    assert together == [batch for (batch,) in rounds_of(indices, batch_size)], "and in the same order"


def test_a_batch_holds_its_texts_their_targets_and_their_labels():
    tokenizers = TokenizerPair(train_word_tokenizer(["a b c"]), train_word_tokenizer(["c c c b b a"]))
    texts = ["a", "c a b", "b b"]
    columns = tokenize({"text": texts}, tokenizers, 9) | {"text": texts, "label_id": [1, 0, 2]}
    batches = InferenceBatches(columns, tokenizers, torch.device("cpu"), batch_size=2)
    assert batches.has_targets and batches.lengths == [2, 4, 3] and batches.texts == texts and len(batches) == 3
    (first, longest), (second, shortest) = batches.batches(range(3), "reading")
    assert (first, second) == ([1, 2], [0])
    assert {name: tensor.tolist() for name, tensor in longest.items()} == {
        "input_ids": [[4, 6, 5, 3], [5, 5, 3, 0]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 1, 0]],
        "labels": [[6, 4, 5, 3], [5, 5, 3, -100]],
        "label_ids": [0, 2],
    }
    assert shortest["input_ids"].tolist() == [[6, 3]] and shortest["labels"].tolist() == [[4, 3]]
    assert batches.num_tokens([0, 2]) == batches.num_words([0, 2]) == 5

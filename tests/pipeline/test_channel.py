"""The noisy channel: hand-computed costs, and that what is added token by token is the total."""

import numpy as np
import pytest
import torch

from textvae.data.edit_costs import COSTS
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.unigram import train_tokenizer
from textvae.pipeline.channel import Alignment, Closeness, Pieces

NOISY = "we liike the cat and dog a today"
CASES = {
    NOISY: 0,
    "we like the cat and dog a today": COSTS.respell,
    "We like the cat and dog a today": 2 * COSTS.respell,
    "we liike the dog and dog a today": COSTS.replace,
    "we liike the cat and the dog a today": COSTS.insert,
    "we liike the cat and dog today": COSTS.delete,
    "we liike the and cat dog a today": COSTS.swap,
    "": 8 * COSTS.delete,
}


@pytest.fixture(scope="module", params=["words", "pieces"])
def tokenizer(request):
    texts = [*CASES, "We like the dogs today"]
    return train_word_tokenizer(texts) if request.param == "words" else train_tokenizer(texts * 9, 300)


@pytest.fixture(scope="module")
def alignment(tokenizer):
    return aligned(NOISY, tokenizer)


def aligned(noisy, tokenizer):
    ids = tokenizer(noisy)["input_ids"]
    return Alignment(noisy, ids, tokenizer.eos_token_id, Pieces(tokenizer), COSTS)


@pytest.mark.parametrize("text", CASES)
def test_the_cost_of_one_change(alignment, text):
    assert alignment.total(text) == CASES[text]


def test_a_gap_may_be_drawn_longer(tokenizer):
    text = "we like the cat and dog a today"
    totals = [aligned(f"we {gap} the cat and dog a today", tokenizer).total(text) for gap in ("___", "______")]
    assert totals == [0, 0]


@pytest.mark.parametrize("text", [text for text in CASES if text])
def test_what_each_token_adds_makes_the_total(alignment, tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    added = sum(alignment.ahead(ids[:place])[0][token] for place, token in enumerate(ids))
    if alignment.pieces.texts.count(" like"):
        assert added == pytest.approx(alignment.total(text))
    assert added >= alignment.total(text) - 1e-6  # a word of several pieces is seen to be respelled when it is whole


def test_a_gap_costs_nothing_to_fill_but_something_to_leave(tokenizer):
    alignment = aligned("the ___ and", tokenizer)
    assert alignment.total("the cat and") == alignment.total("the dog and") == 0
    assert alignment.total("the and") == COSTS.delete
    added, least = alignment.ahead(tokenizer("the", add_special_tokens=False)["input_ids"])
    assert added.min() == 0 and np.isinf(least).all()


def test_special_tokens_are_never_written(alignment, tokenizer):
    added, _ = alignment.ahead([])
    assert np.isinf(added[[tokenizer.pad_token_id, tokenizer.bos_token_id]]).all()
    assert added[tokenizer.eos_token_id] == 8 * COSTS.delete


def test_the_processor_takes_costs_from_the_rows_of_each_text(tokenizer):
    texts, beams = [NOISY, "the cat"], 2
    alignments = [aligned(text, tokenizer) for text in texts]
    ids = torch.full((4, 1), tokenizer.bos_token_id)
    scores = torch.full((4, len(tokenizer)), -5.0)
    told = Closeness(alignments, 2.0)(ids, scores.clone())
    for row in range(4):
        added, least = alignments[row // beams].ahead([])
        expected = np.maximum(-5.0, least) - 2 * added
        assert told[row].tolist() == pytest.approx(expected.tolist())

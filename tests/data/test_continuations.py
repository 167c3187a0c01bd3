"""Continuations: tokens write what they add to a word, spaces too, whatever is left out at the start of a text."""

import pytest
from tiny_runs import SENTENCES

from textvae.data.continuations import WORD, continuations
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.unigram import train_tokenizer


@pytest.mark.parametrize("train", [train_word_tokenizer, lambda texts: train_tokenizer(texts, 400)])
def test_they_are_what_stands_behind_the_word(train):
    tokenizer = train(SENTENCES)
    word = tokenizer(WORD, add_special_tokens=False)["input_ids"]
    rows = [tokenizer(f"{WORD} {text}", add_special_tokens=False)["input_ids"][len(word) :] for text in SENTENCES[:5]]
    assert continuations(tokenizer, rows) == [f" {text}" for text in SENTENCES[:5]]
    assert continuations(tokenizer, [[tokenizer.eos_token_id]], skip_special_tokens=True) == [""]
    assert continuations(tokenizer, [[], rows[0]])[0] == ""

"""Gaps: `___` is read as one mask token, and nothing else changes."""

import pytest

from textvae.data.gaps import mask_gaps
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.unigram import train_tokenizer

TEXTS = ["I like the cat.", "the dog ___ the cat", "___, I like ___ ___.", "under____score and a__b"]


@pytest.fixture(scope="module")
def pieces():
    return TokenizerPair(train_tokenizer(["I like the cat, the dog likes the underscore and me."] * 20, 320))


def masked(tokenizers, texts, length=64):
    return mask_gaps(texts, tokenize({"text": texts}, tokenizers, length)["input_ids"], tokenizers)


def test_a_gap_is_one_mask_token(pieces):
    tokenizer = pieces.decoder
    plain = tokenize({"text": TEXTS}, pieces, 64)["input_ids"]
    rows = masked(pieces, TEXTS)
    assert [rows[0], rows[3]] == [plain[0], plain[3]]
    assert [row.count(tokenizer.mask_token_id) for row in rows] == [0, 1, 3, 0]
    before, after = (tokenizer(part)["input_ids"] for part in ("the dog", "the cat"))
    assert rows[1] == [*before[:-1], tokenizer.mask_token_id, *after]
    assert tokenizer.decode(rows[2], skip_special_tokens=True).replace(" ", "") == ",Ilike."


def test_a_gap_may_be_drawn_longer(pieces):
    assert masked(pieces, ["the _____ cat"]) == masked(pieces, ["the ___ cat"])


def test_a_cut_text_stays_cut(pieces):
    rows = masked(pieces, ["the ___ the cat the cat the cat"], length=4)
    assert len(rows[0]) <= 4


def test_of_words_it_is_the_unknown_one():
    tokenizer = train_word_tokenizer(["a b c"])
    assert masked(TokenizerPair(tokenizer), ["a ___ c"]) == [tokenizer("a zzz c")["input_ids"]]

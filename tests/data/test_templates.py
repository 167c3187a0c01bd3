"""Templates: what is given stays as it is, and its tokens are those that the tokenizer writes in a whole text."""

import pytest
from tiny_runs import SENTENCES, save_decoder

from textvae.data.continuations import WORD
from textvae.data.templates import gap_tokens, split_at_gaps
from textvae.data.tokenization import load_tokenizer, train_word_tokenizer
from textvae.data.unigram import train_tokenizer
from textvae.errors import InputError


@pytest.fixture(scope="module", params=["words", "pieces", "plain pieces", "bytes"])
def gaps(request, tmp_path_factory):
    if request.param == "words":
        tokenizer = train_word_tokenizer(SENTENCES)
    elif request.param == "bytes":
        tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<p>"}
        tokenizer = load_tokenizer(save_decoder(tmp_path_factory.mktemp("decoder"), **tokens))
    else:
        tokenizer = train_tokenizer(SENTENCES, 400, normalization="nfkc" if "plain" in request.param else "nfc")
    return gap_tokens(tokenizer, len(tokenizer) + 3)


def tokens_behind_a_word(tokenizer, text):
    word, both = (tokenizer(one, add_special_tokens=False)["input_ids"] for one in (WORD, f"{WORD} {text}"))
    return both[len(word) :]


def test_given_tokens_and_a_fill_are_the_tokens_of_the_text(gaps):
    whole = gaps.tokenizer("nobody here like pizza from the eighties .", add_special_tokens=False)["input_ids"]
    whole.append(gaps.tokenizer.eos_token_id)
    template = gaps.template(split_at_gaps("nobody here ___ from the ___ .", "___"))
    words = [tokens_behind_a_word(gaps.tokenizer, word) for word in ("like pizza", "eighties")]
    first, middle, last = template.tokens
    assert first + words[0] + middle + words[1] + last == whole
    assert gaps.written(words) == ["like pizza", "eighties"]
    assert template.filled(["like pizza", "eighties"]) == "nobody here like pizza from the eighties ."
    assert template.num_given == len(whole) - sum(map(len, words)) and template.num_gaps == 2


def test_what_may_begin_a_gap_depends_on_what_stands_before(gaps):
    tokenizer = gaps.tokenizer
    ids = tokens_behind_a_word(tokenizer, "pizza")
    assert all(gaps.first(segment)[ids[0]] for segment in ("we like ", "", " ", "we\n"))
    if not gaps.starts.equal(gaps.inside):  # as with a tokenizer of whole words
        assert not gaps.first("un")[ids[0]]
        assert not (gaps.first("we ") & gaps.first("we")).any()
    for segment in ("we ", "we", ""):
        assert not gaps.first(segment)[tokenizer.all_special_ids].any() and not gaps.first(segment)[-3:].any()


def test_an_empty_gap_between_spaces_leaves_one():
    gaps = gap_tokens(train_word_tokenizer(SENTENCES), 100)
    for text, filled in (
        ("we ___ like", "we like"),
        ("___ we", "we"),
        ("we ___", "we"),
        ("we ___.", "we ."),
        ("we(___)", "we()"),
        ("a ___ ___ b", "a b"),
    ):
        template = gaps.template(split_at_gaps(text, "___"))
        assert template.filled([""] * template.num_gaps) == filled


def test_bytes_that_are_no_text_are_no_fill(tmp_path):
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<p>"}
    tokenizer = load_tokenizer(save_decoder(tmp_path, **tokens))
    gaps, ids = gap_tokens(tokenizer, len(tokenizer)), tokenizer("é", add_special_tokens=False)["input_ids"]
    assert len(ids) == 2 and gaps.written([ids, ids[:1], ids[1:], []]) == ["é", "", "", ""]


def test_a_text_without_a_gap_or_a_word_is_refused():
    with pytest.raises(InputError, match="has no gap"):
        split_at_gaps("we like pizza", "___")
    with pytest.raises(InputError, match="no word"):
        split_at_gaps(" ___ ___", "___")


def test_a_gap_may_be_drawn_longer():
    assert split_at_gaps("we _____ it ___", "___") == ["we ", " it ", ""]
    assert split_at_gaps("we ## it", "#") == ["we ", "", " it"]

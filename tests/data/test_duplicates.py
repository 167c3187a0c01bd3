import pytest
from datasets import Dataset, DatasetDict

from textvae.data.corpora import load_corpus
from textvae.data.duplicates import count_in_training
from textvae.errors import InputError

LINES = [f"text number {i} of many" for i in range(10_100)]  # more than a batch of rows


def in_training(corpus):
    return count_in_training(corpus["validation"], corpus["train"])


def test_held_out_texts_in_training_are_counted(chitchat):
    assert in_training(chitchat) == 0
    corpus = load_corpus(texts={"train": LINES, "validation": [*LINES[-2:], LINES[0], LINES[0].upper(), "another"]})
    assert in_training(corpus) == 3


@pytest.mark.slow
def test_duplicates_are_dropped_before_the_split_and_the_first_of_them_stay(caplog):
    corpus = load_corpus(texts=[*LINES, *LINES[:50], "the last"], drop_duplicates=True)
    wanted = load_corpus(texts=[*LINES, "the last"])
    assert {name: [*split] for name, split in corpus.items()} == {name: [*split] for name, split in wanted.items()}
    assert "50 duplicates" in caplog.text and "held-out texts that" not in caplog.text
    assert in_training(corpus) == 0 < in_training(load_corpus(texts=LINES[:500] * 2))


def test_held_out_texts_that_training_has_are_dropped_and_both_counted_in_one_line(caplog):
    splits = DatasetDict(
        train=Dataset.from_dict({"text": ["a", "b", "a"]}), validation=Dataset.from_dict({"text": ["b", "c", "c"]})
    )
    corpus = load_corpus(texts=splits, drop_duplicates=True)
    assert {name: split["text"][:] for name, split in corpus.items()} == {"train": ["a", "b"], "validation": ["c", "c"]}
    assert "1 duplicates of training texts were dropped, and 1 held-out texts" in caplog.text


def test_a_duplicate_is_equal_in_all_columns_asked_for():
    table = {"text": ["a", "a", "a", "b"], "to": ["x", "y", "x", "x"], "n": [1, 2, 3, 4]}
    corpus = load_corpus(texts={"train": table, "dev": table}, target_column="to")
    assert in_training(corpus) == 4
    other = load_corpus(texts={"train": table, "dev": {"text": ["a"], "to": ["z"]}}, target_column="to")
    assert in_training(other) == 0
    dropped = load_corpus(texts=table, target_column="to", drop_duplicates=True)
    found = [tuple(row.values()) for split in dropped.values() for row in split]
    assert sorted(found) == [("a", "x"), ("a", "y"), ("b", "x")]


def test_duplicates_that_cannot_be_dropped_are_refused():
    stream = Dataset.from_dict({"text": ["a", "b"]}).to_iterable_dataset()
    with pytest.raises(InputError, match="duplicates of a stream"):
        load_corpus(texts=stream, drop_duplicates=True)
    with pytest.raises(InputError, match="would leave none"):
        load_corpus(texts={"train": ["a", "b"], "validation": ["a"]}, drop_duplicates=True)

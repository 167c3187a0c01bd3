import logging
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest
from datasets import Dataset, DatasetDict, IterableDatasetDict

from textvae.data.corpora import load_corpus
from textvae.data.given import files_in
from textvae.errors import InputError

LINES = [f"text number {i} of many" for i in range(50)]
TABLES = {
    "pandas": lambda columns: pandas.DataFrame(columns),
    "arrow": pyarrow.table,
    "dictionary": dict,
    "dictionary of arrays": lambda columns: {name: np.array(values) for name, values in columns.items()},
}


def rows(corpus):
    return {name: [*split] for name, split in corpus.items()}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_what_a_dataset_of_its_columns_is(kind):
    columns = {"n": [*range(50)], "body": LINES, "mood": [i % 2 for i in range(50)]}
    options = {"text_column": "body", "label_column": "mood", "validation_split": 0.2}
    wanted = load_corpus(texts=Dataset.from_dict(columns), **options)
    assert rows(load_corpus(texts=TABLES[kind](columns), **options)) == rows(wanted)
    assert set(wanted["train"]["label"]) == {"0", "1"}


def test_gaps_of_every_kind_are_dropped_and_counted(caplog):
    gaps = [None, float("nan"), pandas.NA, pandas.NaT, " "]
    for texts in (["a", *gaps, "b", "c"], pandas.DataFrame({"text": ["a", *gaps, "b", "c"]})):
        caplog.clear()
        corpus = load_corpus(texts=texts)
        assert sorted(row["text"] for split in corpus.values() for row in split) == ["a", "b", "c"]
        assert "5 blank texts were dropped" in caplog.text


def test_a_mixed_column_of_a_table_becomes_texts_or_is_refused(caplog):
    corpus = load_corpus(texts=pandas.DataFrame({"text": ["a", 7, 1.5, True]}))
    assert sorted(row["text"] for split in corpus.values() for row in split) == ["1.5", "7", "a", "true"]
    assert caplog.text.count("'text' holds values of type int, which are read as texts") == 1
    for column, value in (("text", ["b"]), ("mood", {"b": 1})):
        frame = pandas.DataFrame({"text": ["a", "b"], "mood": ["x", "y"]}, dtype=object)
        frame.at[1, column] = value
        with pytest.raises(InputError, match=f"'{column}' holds values of type {type(value).__name__}"):
            load_corpus(texts=frame, label_column="mood")


def test_a_path_or_the_name_of_a_file_is_a_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(LINES))
    wanted = rows(load_corpus(str(path)))
    for given in (path, str(path), [path]):
        assert rows(load_corpus(texts=given)) == wanted
    assert files_in([path, path]) == [str(path)] * 2
    assert files_in(["a", path]) is files_in(LINES) is None


@pytest.mark.parametrize("split", ["validation", "valid", "val", "dev"])
def test_splits_of_datasets_tables_lists_and_streams(split, caplog):
    train, held_out = Dataset.from_dict({"text": LINES}), Dataset.from_dict({"text": ["a", "b"]})
    kinds = {
        DatasetDict: [train, held_out],
        dict: [LINES, ["a", "b"]],
        IterableDatasetDict: [train.to_iterable_dataset(), held_out.to_iterable_dataset()],
    }
    for kind, parts in kinds.items():
        corpus = load_corpus(texts=kind(zip(["train", split, "test"], [*parts, parts[0]], strict=True)))
        assert isinstance(corpus, IterableDatasetDict) is (kind is IterableDatasetDict)
        assert rows(corpus) == {"train": [*train], "validation": [*held_out]}
    assert (f"{split} is the validation split" in caplog.text) is (split != "validation")


def test_splits_without_validation_are_named(caplog):
    with caplog.at_level(logging.WARNING):
        corpus = load_corpus(texts={"train": LINES, "test": LINES}, validation_split=0.1)
    assert "the splits train, test and none called validation" in caplog.text
    assert {name: len(split) for name, split in corpus.items()} == {"train": 45, "validation": 5}


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ("I like the sea.", "no file 'I like the sea.'"),
        ("a text\n" * 1000, "no file 'a text a text"),
        (Path("none.txt"), "no file none.txt"),
        (b"I like", "of type bytes"),
        (7, "of type int"),
        ([{"text": "a"}], "Dataset.from_list"),
        (["a", Path("b.txt")], "Text 1 is of type"),
        ({"text": "a"}, "'text' is of type str"),
        (pyarrow.chunked_array([["a"]]), "of type ChunkedArray"),
        (pandas.DataFrame({"body": ["a"]}), "no column 'text': give --text_column one of body"),
        (DatasetDict(dev=Dataset.from_dict({"text": ["a"]})), "no split 'train' but dev"),
    ],
)
def test_what_is_no_corpus_is_refused_in_one_sentence(texts, told):
    with pytest.raises(InputError, match=told) as error:
        load_corpus(texts=texts)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="text 2, mood 1"):
        load_corpus(texts={"text": ["a", "b"], "mood": ["x"]}, label_column="mood")

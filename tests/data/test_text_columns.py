import datetime
import logging

import pytest
from datasets import ClassLabel, Dataset, Features, IterableDataset, Value

from textvae.data.text_columns import plain, text_columns
from textvae.errors import InputError

NO_TEXTS = {
    "list": ["a", "b"],
    "dict": {"a": "b"},
    "bytes": b"a",
    "list of messages": [{"role": "user", "content": "a"}],
}


def rows_of(dataset):
    return [row["text"] for row in text_columns(dataset, {"text": "body"}, "mine")]


def streamed(values):
    return IterableDataset.from_generator(lambda: ({"body": value} for value in values))


@pytest.mark.parametrize("make", [lambda values: Dataset.from_dict({"body": values}), streamed])
@pytest.mark.parametrize("what", ["text", "label"])
@pytest.mark.parametrize("kind", NO_TEXTS)
def test_columns_of_no_texts_are_refused_by_name_and_type(kind, what, make):
    with pytest.raises(InputError) as error:
        text_columns(make([NO_TEXTS[kind]]), {what: "body"}, "mine")
    named = f"mine: the column 'body' holds values of type {kind.split()[0]} and no {what}s"
    assert str(error.value).startswith(named) and f"another --{what}_column" in str(error.value)


def test_a_list_among_texts_of_a_stream_is_refused_where_it_is_read():
    stream = text_columns(streamed([*"a" * 2000, ["b"]]), {"text": "body"}, "mine")
    with pytest.raises(InputError, match="type list"):
        list(stream)


OTHERS = {
    "int64": ([7, None, 8], ["7", "8"]),
    "double": ([1.5, float("nan"), 2.0], ["1.5", "2.0"]),
    "bool": ([True, False], ["true", "false"]),
    "date32": ([datetime.date(2020, 1, 31), None], ["2020-01-31"]),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_numbers_dates_and_truth_values_become_texts_and_one_line_says_so(kind, caplog):
    values, wanted = OTHERS[kind]
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        assert rows_of(Dataset.from_dict({"body": values})) == wanted
        assert caplog.text.count(f"mine: the column 'body' holds values of type {kind}") == 1
    assert rows_of(streamed(values)) == wanted


def test_strings_of_every_type_and_the_names_of_classes_stay_as_they_are(caplog):
    for feature in (Value("string"), Value("large_string")):
        dataset = Dataset.from_dict({"body": ["007", "NA", None, " "]}, features=Features({"body": feature}))
        assert rows_of(dataset) == ["007", "NA"]
    assert "read as texts" not in caplog.text
    classes = Features({"body": ClassLabel(names=["bad", "good"])})
    assert rows_of(Dataset.from_dict({"body": [1, 0]}, features=classes)) == ["good", "bad"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["numpy", "pandas", "torch", "arrow"])
def test_every_format_gives_the_same_texts_and_stays_what_it_is(kind, streaming, caplog):
    dataset = Dataset.from_dict({"body": ["a", "b"], "n": [1, 2]})
    given = dataset.to_iterable_dataset() if streaming else dataset
    given = given.with_format(kind) if streaming else given.with_format(kind, columns=["n"])
    with caplog.at_level(logging.WARNING):
        assert rows_of(given) == ["a", "b"]
    assert not caplog.records
    if not streaming:
        assert given.format["type"] == kind and given.format["columns"] == ["n"]
    assert plain(dataset) is dataset


def test_a_transform_of_the_user_is_done_once():
    dataset = Dataset.from_dict({"body": ["a", "b"]})
    longer = dataset.with_transform(lambda batch: {"body": [text + "!" for text in batch["body"]]})
    assert rows_of(longer) == ["a!", "b!"] and longer.format["type"] == "custom"

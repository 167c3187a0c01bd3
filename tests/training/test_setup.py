"""What a run makes of the corpus that it is given in Python."""

import logging
from pathlib import Path

import pandas
import pytest
from datasets import Dataset, IterableDatasetDict
from tiny_runs import SENTENCES, assert_same_state, config, refusal, results, weights, write_lines

from textvae.errors import InputError
from textvae.training.config import CONFIG_FILE, TrainingConfig
from textvae.training.setup import set_up
from textvae.training.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


def without_file(corpus: Path, output_dir: Path, **changes) -> TrainingConfig:
    return config(corpus, output_dir, **{"train_file": None, "max_steps": 2, **changes})


def test_a_path_is_the_train_file_of_the_run_and_is_resumed_as_such(corpus, tmp_path):
    train(config(corpus, tmp_path / "file", max_steps=2))
    for name, given in (("path", corpus), ("string", str(corpus))):
        train(without_file(corpus, tmp_path / name), given)
        assert_same_state(weights(tmp_path / name), weights(tmp_path / "file"))
        assert str(TrainingConfig.from_yaml(tmp_path / name / CONFIG_FILE).train_file).strip("[']") == str(corpus)
    with pytest.raises(InputError, match="Both texts and the train_file"):
        train(config(corpus, tmp_path / "both"), corpus)
    with pytest.raises(InputError, match="no file 'Hello, world.'"):
        train(without_file(corpus, tmp_path / "letters"), "Hello, world.")


@pytest.mark.parametrize("kind", ["numpy", "pandas", "torch", "table"])
def test_tables_and_datasets_of_every_format_train_the_same_model(corpus, tmp_path, kind):
    dataset = Dataset.from_dict({"text": SENTENCES, "n": [*range(len(SENTENCES))]})
    given = pandas.DataFrame({"text": SENTENCES}) if kind == "table" else dataset.with_format(kind)
    train(without_file(corpus, tmp_path / "plain"), dataset)
    train(without_file(corpus, tmp_path / kind), given)
    assert_same_state(weights(tmp_path / kind), weights(tmp_path / "plain"))
    assert kind == "table" or given.format["type"] == kind


def test_a_stream_sets_streaming_and_what_that_needs_is_checked(corpus, tmp_path):
    stream = Dataset.from_dict({"text": SENTENCES}).to_iterable_dataset()
    changes = {"tokenizer": "sentencepiece", "vocab_size": 400}
    train(without_file(corpus, tmp_path / "run", **changes), IterableDatasetDict(train=stream, dev=stream.take(9)))
    assert TrainingConfig.from_yaml(tmp_path / "run" / CONFIG_FILE).streaming
    report = results(tmp_path / "run")
    assert report["num_texts"] == 9 and "num_held_out_in_training" not in report
    with pytest.raises(InputError, match="give max_steps"):
        train(without_file(corpus, tmp_path / "endless", **changes, max_steps=None), stream)
    with pytest.raises(InputError, match="duplicates of a stream"):
        train(without_file(corpus, tmp_path / "unique", **changes, drop_duplicates=True), stream)


def test_held_out_texts_in_training_are_told_at_the_start_in_the_metrics_and_on_the_card(corpus, tmp_path, caplog):
    splits = {"train": SENTENCES, "validation": [*SENTENCES[:3], "I never saw .", "we like !"]}
    train(without_file(corpus, tmp_path / "all"), splits)
    assert "3 of the 5 held-out texts are in training, too" in caplog.text
    assert results(tmp_path / "all")["num_held_out_in_training"] == 3
    assert "3 of the held-out texts are in training, too" in (tmp_path / "all" / "README.md").read_text()
    caplog.clear()
    train(without_file(corpus, tmp_path / "dropped", drop_duplicates=True), splits)
    assert "and 3 held-out texts that training has" in caplog.text and "are in training, too" not in caplog.text
    report = results(tmp_path / "dropped")
    assert (report["num_held_out_in_training"], report["num_texts"]) == (0, 2)
    assert "in training, too" not in (tmp_path / "dropped" / "README.md").read_text()


@pytest.mark.parametrize("number", [66, 74])
def test_a_corpus_of_a_batch_and_two_texts_is_enough(corpus, tmp_path, number, caplog):
    changes = {"validation_split": 0.02, "per_device_train_batch_size": 64}
    with caplog.at_level(logging.WARNING):
        run = set_up(without_file(corpus, tmp_path / "run", **changes), SENTENCES[:number])
    assert len(run.held_out) == 2 and f"2 of {number} texts are held out" in caplog.text
    run = without_file(corpus, tmp_path / "fewer", **changes, max_train_samples=63)
    with pytest.raises(InputError, match="fewer than a batch of 64"):
        train(run, SENTENCES[:number])


def test_a_limit_that_leaves_too_few_held_out_texts_is_refused(corpus, tmp_path):
    assert "1 validation texts" in refusal(config(corpus, tmp_path / "run", max_validation_samples=1))

"""The history of a run: what it logs, once for each time, whether it was resumed or not, and nothing of another run."""

import json

import pytest
from tiny_runs import config, kill_in_a_step, logged, resume, write_lines

from textvae import train
from textvae.training.history import History, cut_history

EVERY_STEP = {"max_steps": 6, "logging_steps": 1, "save_steps": 2, "eval_steps": 3, "monitor_steps": 3}


def rows(directory) -> list[dict]:
    """The lines of a history, but for the speed."""
    lines = (directory / "history.jsonl").read_text().splitlines()
    return [{name: v for name, v in json.loads(line).items() if name != "tokens_per_second"} for line in lines]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "mine.txt")


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory, short_reports):
    directory = tmp_path_factory.mktemp("finished")
    train(config(corpus, directory, **EVERY_STEP, report_to=["tensorboard"]))
    return directory


def test_it_holds_what_trackers_are_sent(finished):
    for name in ("loss", "kl", "beta", "validation_negative_elbo", "monitor/shuffle_gap", "monitor/kl_of_dimension_5"):
        own = [(row["step"], row[name]) for row in rows(finished) if name in row]
        assert own == [(step, pytest.approx(value, rel=1e-5)) for step, value in logged(finished, name)]


def test_a_resumed_run_has_that_of_an_uninterrupted_one(corpus, finished, tmp_path, short_reports, monkeypatch):
    run = config(corpus, tmp_path, **EVERY_STEP)
    kill_in_a_step(run, 6, monkeypatch)
    assert len(rows(tmp_path)) < len(rows(finished))
    resume(run)
    assert trained(tmp_path) == trained(finished)


def trained(directory) -> list[dict]:
    """Without what the monitor says of the latest texts, which a checkpoint does not hold."""
    return [row for row in rows(directory) if "monitor/kl" not in row]


@pytest.mark.slow
def test_a_new_run_in_the_same_directory_starts_anew(corpus, tmp_path, short_reports):
    run = config(corpus, tmp_path, **EVERY_STEP, seed=1)
    train(run)
    before = rows(tmp_path)
    run.overwrite_output_dir = True
    train(run)
    assert rows(tmp_path) == before


def test_a_line_that_was_cut_is_dropped(tmp_path):
    cut_history(tmp_path, 3)
    history = History(tmp_path)
    for step in range(1, 6):
        history.log({"loss": step / 3}, step=step)
    with history.tracker.open("a") as file:
        file.write('{"step": 2, "lo')
    cut_history(tmp_path, 3)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3]
    cut_history(tmp_path, -1)
    assert not history.tracker.exists()

"""max_minutes: the steps that fit are planned from the speed of the first ones, and a resumed run keeps the plan."""

import shutil

import pytest
import torch
from tiny_runs import (
    BERT,
    GRU,
    PROGRESS,
    assert_same_checkpoint,
    assert_same_state,
    config,
    kill_in_a_step,
    logged,
    results,
    weights,
    write_lines,
)

from textvae.training import planner
from textvae.training.checkpoints import checkpoints_in, step_of
from textvae.training.optimization import rate_schedule
from textvae.training.planner import steps_that_fit
from textvae.training.train import train

pytestmark = pytest.mark.slow

MINUTES = 0.05
PLANNED = {"max_steps": None, "max_minutes": MINUTES, "save_total_limit": 10**6, "logging_steps": 1, "eval_steps": 100}
RANDOM = {
    "encoder": {**BERT, "hidden_dropout_prob": 0.1},
    "decoder": {**GRU, "dropout": 0.2},
    "word_dropout": 0.2,
    "weight_averaging": "swa",
    "kl_schedule": "cyclical",
    "lr_scheduler_type": "cosine",
    "gradient_accumulation_steps": 2,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """A run of three seconds that keeps each of its checkpoints."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    train(config(corpus, directory, **PLANNED, **RANDOM, save_steps=1, report_to=["tensorboard"]))
    return directory


def planned_steps(checkpoint):
    return torch.load(checkpoint / PROGRESS)["planned_steps"]


def planned_at(run):
    """The step after which the plan was made, of a run that keeps all of its checkpoints."""
    return next(step_of(one) for one in checkpoints_in(run) if planned_steps(one))


@pytest.mark.parametrize(
    ("seconds", "step", "validation", "every", "steps"),
    [
        (600, 0.5, 0, 100, 1200),
        (600, 0.5, 10, 10**9, 1180),  # one, at the end
        (610, 0.5, 10, 20, 600),  # the 30 during training take half of the time
        (600, 0.001, 0, 1, 600_000),
        (5, 10, 3, 7, 1),  # time for none
        (-50, 1, 3, 7, 1),
    ],
)
def test_as_many_steps_as_fit(seconds, step, validation, every, steps):
    assert steps_that_fit(seconds, step, validation, every) == pytest.approx(steps, abs=1)
    assert steps == 1 or step * steps + validation * (1 + steps // every) <= seconds + 1e-6


def test_a_run_ends_with_its_plan(whole):
    plans = [planned_steps(one) for one in checkpoints_in(whole)]
    steps, made = results(whole)["steps"], planned_at(whole)
    assert plans == [*[0] * (made - 1), *[steps] * (steps - made + 1)]
    assert steps > made > planner.WARM_UP


def test_from_the_plan_on_the_schedules_are_those_of_a_run_of_so_many_steps(whole):
    steps, made, rates = results(whole)["steps"], planned_at(whole), dict(logged(whole, "learning_rate"))
    run = config("none", "none", **PLANNED, **RANDOM)
    exact = rate_schedule(run, steps)
    for step in range(made + 1, steps + 1):
        assert rates[step] == pytest.approx(run.learning_rate * exact(step), abs=1e-9)
    assert len(rates) == steps and max(rates.values()) <= 1.0001 * run.learning_rate and rates[steps] == 0


@pytest.mark.parametrize("share", [0, 0.7])
def test_a_resumed_run_keeps_the_plan_bit_for_bit(corpus, whole, tmp_path, share):
    cut, steps, made = shutil.copytree(whole, tmp_path / "run"), results(whole)["steps"], planned_at(whole)
    start = cut / f"checkpoint-{made + int(share * (steps - made))}"
    torch.manual_seed(99)
    train(config(corpus, cut, **PLANNED, **RANDOM, save_steps=50, resume_from_checkpoint=str(start)))
    assert results(cut) == results(whole)
    assert_same_state(weights(cut), weights(whole))
    assert_same_checkpoint(cut / f"checkpoint-{steps}", whole / f"checkpoint-{steps}")


def test_a_run_that_is_cut_before_its_plan_makes_it_then(corpus, tmp_path, monkeypatch):
    run = config(corpus, tmp_path / "run", **PLANNED, save_steps=3)
    kill_in_a_step(run, 6, monkeypatch)
    assert planned_steps(tmp_path / "run" / "checkpoint-3") == 0
    run.resume_from_checkpoint = "latest"
    train(run)
    steps = results(tmp_path / "run")["steps"]
    assert planned_steps(tmp_path / "run" / f"checkpoint-{steps}") == steps > 3 + planner.WARM_UP


def test_other_minutes_are_another_plan(corpus, tmp_path, caplog):
    train(config(corpus, tmp_path / "run", **PLANNED))
    first = results(tmp_path / "run")["steps"]
    longer = {**PLANNED, "max_minutes": 2 * MINUTES, "resume_from_checkpoint": "latest"}
    train(config(corpus, tmp_path / "run", **longer))
    second = results(tmp_path / "run")["steps"]
    assert second > first and planned_steps(tmp_path / "run" / f"checkpoint-{second}") == second
    assert f"max_minutes {2 * MINUTES} (before {MINUTES})" in caplog.text
    steps = {"max_minutes": None, "max_steps": second + 2, "resume_from_checkpoint": "latest"}
    train(config(corpus, tmp_path / "run", **{**PLANNED, **steps}))
    assert results(tmp_path / "run")["steps"] == second + 2


def test_a_stream_may_have_minutes_for_steps(corpus, tmp_path):
    train(config(corpus, tmp_path / "first", max_steps=1))
    stream = {"streaming": True, "tokenizer": "sentencepiece", "model_name_or_path": str(tmp_path / "first")}
    train(config(corpus, tmp_path / "run", **PLANNED, **stream))
    assert results(tmp_path / "run")["steps"] > planner.WARM_UP

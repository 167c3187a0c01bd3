"""Real processes: two equal one, a killed one resumes exactly, and what the shell sees of a mistake."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from tiny_runs import (
    GRU,
    SENTENCES,
    assert_same_checkpoint,
    assert_same_state,
    contents,
    logged,
    progress_of,
    results,
    save_parts,
    settings,
    weights,
    write_lines,
)

from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.training.checkpoints import checkpoints_in, step_of
from textvae.training.config import TrainingConfig
from textvae.training.train import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


def environment() -> dict:
    return {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


# two processes

TWO = {
    # A weight of the KL that changes at every step, and a floor that some dimensions are below and some above; texts
    # that do not divide by two, so that the processes hold shares of different sizes.
    "batch": {"free_bits": 0.3, "free_bits_mode": "batch", "kl_schedule": "linear", "kl_warmup": 0.5},
    "text": {"free_bits": 0.3, "free_bits_mode": "text", "kl_schedule": "cosine", "gradient_accumulation_steps": 2},
    # The techniques that look at the KL, the weights or the validation of all processes.
    "steered": {
        "kl_target": 3.0,
        "kl_controller_gain": 0.02,
        "weight_averaging": "swa",
        "swa_start": 0.3,
        "bag_of_words_weight": 0.3,
        "committed_rate": 0.05,
        "gradient_accumulation_steps": 2,
        "monitor_steps": 3,
        "report_to": ["tensorboard"],
        "max_train_samples": 64,
    },
    # Weights that no process trains, some that both do from the start, and some that both hold back at first; labels.
    "adapted": {
        "freeze_encoder": True,
        "lora": "decoder",
        "lora_rank": 2,
        "bottleneck_phase": 0.5,
        "learning_rate": 1e-3,
        "label_column": "label",
    },
    # A saved model with a head that its objective has no more use for.
    "tuned": {"max_steps": 4, "save_steps": 4},
    "aggressive": {
        "aggressive_encoder": True,
        "max_steps": 4,
        "save_steps": 4,
        "eval_steps": 2,
        "learning_rate": 1e-3,
        "weight_averaging": "ema",
        "kl_reset_decoder": True,
        "kl_zero_phase": 0.5,
    },
}
SHARED = {"max_train_samples": 75, "max_steps": 12, "beta": 2.0, "learning_rate": 5e-3, "save_steps": 6}

RECIPES_IN_TURN = """
import json, runpy, sys
for line in json.loads(sys.argv[1]):
    sys.argv = line
    runpy.run_path(line[0], run_name="__main__")
"""


def run_on_two(calls: list[list], directory: Path) -> None:
    """Recipes with their arguments, one after the other in the same two processes."""
    script = directory / "in_turn.py"
    script.write_text(RECIPES_IN_TURN)
    calls = [[str(ROOT / "recipes" / recipe), *map(str, arguments)] for recipe, *arguments in calls]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(script), json.dumps(calls)], env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]


def leave_an_interrupted_evaluation(model: Path, partial: Path) -> None:
    """The first three batches of 16, by one process; and so that one sees that they are used, 200 nats too much."""
    TextVAEPipeline.from_pretrained(model).evaluate(
        SENTENCES, num_importance_samples=7, num_prior_samples=2, batch_size=16, cache=partial
    )
    header, first, *others = partial.read_text().splitlines()[:4]
    (index, values), *rest = json.loads(first)
    partial.write_text("\n".join([header, json.dumps([[index, [v + 200 for v in values]], *rest]), *others]) + "\n")


def judges(directory: Path) -> list[str]:
    """The parts that `save_parts` left there, as judges."""
    names = ["--judge", str(directory / "decoder"), "--judge_encoder", str(directory / "encoder")]
    return [*names, "--num_prior_samples", "20"]


@pytest.fixture(scope="module")
def runs(corpus, tmp_path_factory):
    """Directory of the runs `one-NAME` and `two-NAME`, and of what evaluate.py says of one on two processes."""
    directory = tmp_path_factory.mktemp("runs")
    table = write_lines(directory / "texts.csv", ["text,label", *(f"{text},{text[-1]}" for text in SENTENCES)])
    places = {
        "adapted": {**save_parts(directory), "train_file": str(table)},
        "tuned": {"model_name_or_path": str(directory / "one-steered")},
    }
    calls = []
    for name, changes in TWO.items():
        changes = {**SHARED, **changes, **places.get(name, {})}
        train(TrainingConfig(**settings(corpus, directory / f"one-{name}", **changes)))
        halved = settings(corpus, directory / f"two-{name}", **changes, per_device_train_batch_size=8)
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(halved))
        calls.append(["train.py", "--config", directory / f"{name}.yaml"])
    minutes = {"max_steps": None, "max_minutes": 0.05, "save_steps": 1, "lr_scheduler_type": "cosine"}
    (directory / "minutes.yaml").write_text(yaml.safe_dump(settings(corpus, directory / "two-minutes", **minutes)))
    calls.append(["train.py", "--config", directory / "minutes.yaml"])
    for name in ("two", "cut"):
        calls.append(
            [
                "evaluate.py",
                directory / "one-batch",
                "--file",
                corpus,
                "--num_importance_samples",
                7,
                "--batch_size",
                16,
                *judges(directory),
                "--output",
                directory / f"{name}.json",
            ]
        )
    leave_an_interrupted_evaluation(directory / "one-batch", directory / "cut.json.partial")
    run_on_two(calls, directory)
    return directory


@pytest.mark.parametrize("name", TWO)
def test_two_processes_equal_one_with_the_same_global_batch(runs, name):
    one, two = runs / f"one-{name}", runs / f"two-{name}"
    last = checkpoints_in(one)[-1].name
    assert (two / last / "random_states_1.pkl").exists(), "there were two of them"
    for parameter, value in weights(one).items():
        torch.testing.assert_close(weights(two)[parameter], value, rtol=1e-4, atol=1e-5, msg=parameter)
    assert results(two) == pytest.approx(results(one), rel=1e-5, abs=1e-5)
    assert progress_of(two / last) == pytest.approx(progress_of(one / last), rel=1e-5)
    schedule, _, average, *controller = (
        [torch.load(path / last / f"custom_checkpoint_{number}.pkl", weights_only=False) for path in (one, two)]
        for number in range(4 if "kl_target" in TWO[name] else 3)
    )
    assert schedule[0] == schedule[1], "it stepped once a step, not once a process"
    assert (average[0]["num_averaged"] > 0) == ("weight_averaging" in TWO[name])
    for parameter, value in average[0]["weights"].items():
        distance = (average[1]["weights"][parameter] - value).norm()  # its first steps after a reset enlarge rounding
        assert distance <= 1e-3 * value.norm() + 1e-5, parameter
    for states in controller:
        assert states[1].pop("kind") == states[0].pop("kind") and states[0]["updates"] == 12
        assert states[1] == pytest.approx(states[0], rel=1e-4)


def test_two_processes_agree_on_a_plan(runs):
    """Each would wait for the other for ever if one took another number of steps."""
    last = checkpoints_in(runs / "two-minutes")[-1]
    assert (last / "random_states_1.pkl").exists(), "there were two of them"
    assert progress_of(last)["planned_steps"] == results(runs / "two-minutes")["steps"] == step_of(last)


def test_the_monitor_sees_the_texts_of_both_processes(runs):
    for name in ("kl", "active_units", "mutual_information"):
        one, two = (logged(runs / f"{number}-steered", f"monitor/{name}") for number in ("one", "two"))
        assert [step for step, _ in one] == [3, 6, 9, 12]
        assert [value for _, value in two] == pytest.approx([value for _, value in one], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["batch", "text"])
def test_the_kl_weight_acts_in_these_runs(runs, corpus, name, tmp_path):
    """What the test above rests on: a weight stuck at 0 is far outside its tolerance."""
    train(TrainingConfig(**settings(corpus, tmp_path, **{**SHARED, **TWO[name], "beta": 0.0})))
    assert results(tmp_path)["kl"] > 1.05 * results(runs / f"two-{name}")["kl"]


def test_evaluation_on_two_processes_gives_the_same_numbers(runs, corpus, monkeypatch):
    import runpy

    monkeypatch.setattr(
        sys,
        "argv",
        [
            "evaluate.py",
            str(runs / "one-batch"),
            "--file",
            str(corpus),
            "--num_importance_samples",
            "7",
            "--batch_size",
            "16",
            *judges(runs),
            "--output",
            str(runs / "one.json"),
        ],
    )
    runpy.run_path(str(ROOT / "recipes" / "evaluate.py"), run_name="__main__")
    one, two = (json.loads((runs / f"{name}.json").read_text()) for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-5, abs=1e-6)


def test_an_interrupted_evaluation_goes_on_with_another_number_of_processes(runs):
    whole, cut = (json.loads((runs / f"{name}.json").read_text()) for name in ("two", "cut"))
    assert cut["iw_nll"] == pytest.approx(whole["iw_nll"] + 200 / len(SENTENCES), rel=1e-5)
    assert cut["negative_elbo"] == whole["negative_elbo"]
    assert not list(runs.glob("*.partial"))


def test_checkpoints_of_two_processes_hold_no_more_than_what_is_trained(runs):
    for directory in (runs / "one-adapted", runs / "two-adapted"):
        kept = weights(checkpoints_in(directory)[-1])
        assert {name.removeprefix("module.") for name in kept} == weights(directory).keys()
        assert not any("base_layer" in name or "encoder." in name for name in kept)


# a killed one


def test_a_run_that_is_killed_resumes_exactly(corpus, tmp_path):
    random_everywhere = {
        "decoder": {**GRU, "dropout": 0.2},
        "word_dropout": 0.2,
        "noise_drop": 0.1,
        "noise_shuffle": 2,
        "noise_typos": 0.2,
        "gradient_accumulation_steps": 2,
        "max_steps": 120,
        "save_steps": 3,
        "eval_steps": 4,
        "logging_steps": 1,
    }
    whole, killed = (settings(corpus, tmp_path / name, **random_everywhere) for name in ("whole", "killed"))
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(killed))
    told = (tmp_path / "told.txt").open("w")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "recipes" / "train.py"), "--config", str(tmp_path / "killed.yaml")],
        env=environment(),
        stdout=told,
        stderr=told,
    )
    try:
        give_up = time.monotonic() + 240
        while not checkpoints_in(tmp_path / "killed"):
            is_late = time.monotonic() > give_up
            assert process.poll() is None and not is_late, (tmp_path / "told.txt").read_text()[-4000:]
            time.sleep(0.01)
        time.sleep(random.random())  # anywhere
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        told.close()
    train(TrainingConfig(**killed, resume_from_checkpoint="latest"))
    train(TrainingConfig(**whole))
    assert_same_checkpoint(tmp_path / "killed" / "checkpoint-120", tmp_path / "whole" / "checkpoint-120")
    assert_same_state(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob(".*")), "nothing unfinished is left"


# a mistake


def test_a_mistake_in_the_shell_is_one_sentence_and_exit_code_2(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes" / "train.py"), "--train_file", "empty.txt"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "error: empty.txt is empty: give a file that holds texts."
    assert done.stdout == "" and contents(tmp_path) == {"empty.txt": b""}


def test_a_mistake_on_several_processes_is_told_once(tmp_path):
    """The main process finds it while the other waits, which must then not complain of a lost connection."""
    write_lines(tmp_path / "one.txt", ["Only this."])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(ROOT / "recipes" / "train.py"), "--train_file", "one.txt"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode != 0 and not (tmp_path / "runs").exists()
    assert done.stderr.count("error: one.txt holds one text") == 1
    assert "[rank" not in done.stderr, "that is how torch begins the lines of a traceback"

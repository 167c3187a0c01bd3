"""What a checkpoint must match to be resumed, that it runs no code, and that a directory belongs to one run."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from tiny_runs import GRU, SENTENCES, config, contents, refusal, results, weights, write_lines

from textvae.files import checksum
from textvae.training import changes
from textvae.training.config import TrainingConfig
from textvae.training.resume import BEFORE
from textvae.training.train import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GOES_ON = {"max_steps": 4, "resume_from_checkpoint": "latest"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


@pytest.fixture(scope="module")
def begun(corpus, tmp_path_factory):
    directory = tmp_path_factory.mktemp("begun") / "run"
    train(config(corpus, directory, max_steps=2))
    return directory


@pytest.fixture
def run_dir(begun, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(begun, tmp_path / "run")


class Payload:
    """What runs a command when it is unpickled."""

    def __init__(self, made: Path):
        self.made = made

    def __reduce__(self):
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("name", ["custom_checkpoint_0.pkl", "optimizer.bin", "random_states_0.pkl"])
@pytest.mark.parametrize("written", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))])
def test_no_code_in_a_checkpoint_is_run(corpus, run_dir, tmp_path, name, written):
    checkpoint = run_dir / "checkpoint-2"
    written(Payload(tmp_path / "ran"), checkpoint / name)
    manifest = json.loads((checkpoint / "checkpoint.json").read_text())
    manifest["files"][name] = checksum(checkpoint / name)  # as an attacker would
    (checkpoint / "checkpoint.json").write_text(json.dumps(manifest))
    before = contents(run_dir)
    assert "could run code" in refusal(config(corpus, run_dir, **GOES_ON))
    assert not (tmp_path / "ran").exists() and contents(run_dir) == before


def test_every_setting_says_whether_it_may_change():
    sets = (changes.FREE, changes.CORPUS, changes.ELSEWHERE, changes.SAID, changes.FIXED)
    names = [field.name for field in fields(TrainingConfig)]
    assert {name: sum(name in one for one in sets) for name in names} == dict.fromkeys(names, 1)
    assert set().union(*sets) <= set(names)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"per_device_train_batch_size": 8}, "1 × 16 texts in an optimizer step, and this run has 1 × 8"),
        ({"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}, "2 × 8"),
        ({"seed": 1}, "trained with seed 0, and this run has seed 1"),
        ({"weight_decay": 0.1}, "weight_decay"),
    ],
)
def test_what_must_not_change_is_refused(corpus, run_dir, change, told):
    before = contents(run_dir)
    assert told in refusal(config(corpus, run_dir, **GOES_ON | change))
    assert contents(run_dir) == before


def test_what_may_change_is_said_once_and_the_rest_is_silent(corpus, run_dir, caplog):
    settings = {"beta": 0.5, "word_dropout": 0.1, "save_steps": 1, "num_importance_samples": 2}
    train(config(corpus, run_dir, **GOES_ON | settings))
    (line,) = [record.getMessage() for record in caplog.records if "other settings" in record.getMessage()]
    assert "beta 0.5 (before 1.0)" in line and "word_dropout 0.1 (before 0.0)" in line and "max_steps 4" in line
    assert "save_steps" not in line and "num_importance" not in line


OTHERS = {
    "sorted": sorted(SENTENCES),
    "two words swapped everywhere": [
        text.replace("pizza", "\0").replace("garden", "pizza").replace("\0", "garden") for text in SENTENCES
    ],
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_corpus_of_equal_size_is_refused(run_dir, tmp_path, other):
    file = write_lines(tmp_path / "other.txt", OTHERS[other])
    assert "is of a corpus of 180 texts" in (message := refusal(config(file, run_dir, **GOES_ON)))
    assert other == "sorted" or "another of that size" in message  # sorted, other texts are held out


def test_checkpoints_of_older_versions_go_on(corpus, run_dir):
    manifest = run_dir / "checkpoint-2" / "checkpoint.json"
    content = json.loads(manifest.read_text())
    del content["about"]["settings"], content["about"]["batch"], content["about"]["corpus"]["digest"]
    manifest.write_text(json.dumps(content))
    train(config(corpus, run_dir, **GOES_ON))
    assert results(run_dir)["steps"] == 4


def test_a_run_from_before_a_setting_goes_on_without_its_default(corpus, tmp_path):
    """Its files name none of the settings that are newer, whose defaults would be another optimizer and model."""
    decoder = {**GRU, "embedding_size": 16}  # which the encoder could share
    train(config(corpus, tmp_path / "run", decoder=decoder, save_steps=3))
    whole = weights(tmp_path / "run")
    manifest = tmp_path / "run" / "checkpoint-3" / "checkpoint.json"
    content = json.loads(manifest.read_text())
    for name in BEFORE:
        del content["about"]["settings"][name]
        content["about"]["model"].pop(name, None)
    manifest.write_text(json.dumps(content))
    newer = {"optimizer": "muon", "tie_encoder_embeddings": True, "resume_from_checkpoint": str(manifest.parent)}
    train(config(corpus, tmp_path / "run", decoder=decoder, save_steps=3, **newer))
    found = weights(tmp_path / "run")
    assert found.keys() == whole.keys() and all(found[name].equal(whole[name]) for name in whole)
    assert TrainingConfig.from_yaml(tmp_path / "run" / "training_config.yaml").optimizer == "adamw"


def test_going_on_with_a_finished_run_says_so(corpus, run_dir, caplog):
    before = results(run_dir)
    train(config(corpus, run_dir, max_steps=2, resume_from_checkpoint="latest"))
    assert "All 2 steps of this run are done" in caplog.text and results(run_dir) == before


def test_the_model_is_there_before_its_report(corpus, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["textvae.training.train"], "evaluate", fails)
        with pytest.raises(AssertionError):
            train(config(corpus, tmp_path / "run", max_steps=2))
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert "holds an unfinished run" in refusal(config(corpus, tmp_path / "run", max_steps=2))
    train(config(corpus, tmp_path / "run", max_steps=2, resume_from_checkpoint="latest"))
    assert results(tmp_path / "run")["steps"] == 2


@pytest.mark.parametrize(
    ("program", "started"),
    [("recipes/train.py", "accelerate launch recipes/train.py"), ("bin/textvae", "textvae train")],
)
@pytest.mark.parametrize("save_steps", [1, 100])
def test_who_interrupts_a_run_is_told_how_to_go_on(corpus, tmp_path, monkeypatch, caplog, save_steps, program, started):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setattr(sys.modules["textvae.training.train"], "_close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config(corpus, tmp_path / "run", max_steps=2, save_steps=save_steps))
    again = f"{started} --config {tmp_path / 'run' / 'training_config.yaml'} --resume_from_checkpoint latest"
    assert "Interrupted at step 2" in caplog.text and again in caplog.text


# two runs at a time

HOLDS = """
import sys, time
from pathlib import Path
from textvae.training.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_is_refused_and_the_claim_dies_with_its_process(corpus, tmp_path):
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert "Another run is at work" in refusal(config(corpus, tmp_path / "run", max_steps=1))
        other.send_signal(signal.SIGKILL)
    train(config(corpus, tmp_path / "run", max_steps=1))
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def test_a_run_that_cannot_start_leaves_no_directory(tmp_path):
    assert "no file" in refusal(config(tmp_path / "none.txt", tmp_path / "a" / "b"))
    assert not (tmp_path / "a").exists()

"""Checkpoints: whole or absent, rotated, checked before they are opened."""

import json
import os

import pytest
import torch
from accelerate import Accelerator

from textvae.errors import InputError
from textvae.training.checkpoints import about, checkpoints_in, find_checkpoint, save_checkpoint


@pytest.fixture
def accelerator():
    accelerator = Accelerator()
    accelerator.prepare(torch.nn.Linear(3, 2))
    return accelerator


@pytest.fixture
def save(accelerator, tmp_path):
    return lambda step, limit=9, **about: save_checkpoint(accelerator, tmp_path, step, about, limit)


def names(output_dir):
    return [path.name for path in checkpoints_in(output_dir)]


def test_the_newest_are_kept_and_ordered_by_their_step(save, tmp_path):
    for step in (8, 9, 10, 11):
        save(step, limit=3)
    assert names(tmp_path) == ["checkpoint-9", "checkpoint-10", "checkpoint-11"]
    assert find_checkpoint("latest", tmp_path).name == "checkpoint-11"
    assert find_checkpoint(str(tmp_path / "checkpoint-9"), tmp_path).name == "checkpoint-9"


def test_it_gives_back_what_it_was_told(save):
    assert about(save(1, model={"latent_size": 3})) == {"model": {"latent_size": 3}}


def test_one_step_saved_twice_holds_the_second(save, tmp_path):
    save(5, turn=1)
    assert about(save(5, turn=2)) == {"turn": 2}
    assert names(tmp_path) == ["checkpoint-5"]


@pytest.mark.parametrize("half_written", ["nothing", "some files"])
def test_a_kill_while_saving_leaves_the_last_one_and_no_new_one(save, tmp_path, monkeypatch, half_written):
    save(1)

    def killed(*_):
        raise KeyboardInterrupt

    if half_written == "nothing":
        monkeypatch.setattr(Accelerator, "save_state", killed)
    else:
        monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(2)
    monkeypatch.undo()
    assert names(tmp_path) == ["checkpoint-1"]
    assert find_checkpoint("latest", tmp_path).name == "checkpoint-1"
    save(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"], "and no leftover"


def truncate(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def flip_a_bit(checkpoint):
    weights = checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def lose_a_file(checkpoint):
    (checkpoint / "random_states_0.pkl").unlink()


def lose_the_manifest(checkpoint):
    (checkpoint / "checkpoint.json").unlink()


def spoil_the_manifest(checkpoint):
    (checkpoint / "checkpoint.json").write_text(json.dumps({"step": 2})[:-3])


SPOILERS = [truncate, flip_a_bit, lose_a_file, lose_the_manifest, spoil_the_manifest]


@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize("asked", ["latest", "by name"])
def test_a_spoilt_one_is_refused_and_the_last_whole_one_offered(save, tmp_path, spoil, asked):
    whole, spoilt = save(1), save(2)
    spoil(spoilt)
    with pytest.raises(InputError) as error:
        find_checkpoint("latest" if asked == "latest" else str(spoilt), tmp_path)
    assert f"{spoilt} is corrupt or incomplete; resume from {whole}" in str(error.value)


def test_where_none_is_whole_none_is_offered(save, tmp_path):
    truncate(save(1))
    with pytest.raises(InputError, match="no other checkpoint, start the run again"):
        find_checkpoint("latest", tmp_path)


def test_a_missing_one_is_named_and_a_whole_one_offered(save, tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint to resume from"):
        find_checkpoint("latest", tmp_path)
    whole = save(1)
    truncate(save(2))
    with pytest.raises(InputError) as error:
        find_checkpoint(str(tmp_path / "checkpoint-3"), tmp_path)
    assert f"no checkpoint {tmp_path / 'checkpoint-3'}; resume from {whole}" in str(error.value)


def test_one_of_another_run_is_refused(save, tmp_path):
    save(1)
    with pytest.raises(InputError, match=f"belongs to another run: give output_dir {tmp_path} "):
        find_checkpoint(str(tmp_path / "checkpoint-1"), tmp_path / "elsewhere")


def test_other_directories_are_none_of_its_business(save, tmp_path):
    for name in ("checkpoint-best", "checkpoint-3.old", ".checkpoint-4.unfinished"):
        (tmp_path / name).mkdir()
    save(1, limit=1)
    save(2, limit=1)
    assert names(tmp_path) == ["checkpoint-2"]
    assert (tmp_path / "checkpoint-best").exists() and (tmp_path / "checkpoint-3.old").exists()

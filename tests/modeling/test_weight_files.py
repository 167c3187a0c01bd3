"""Weight files: damage is noticed, wherever the model is opened; and no old file stays beside a new one."""

import shutil

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from textvae.errors import InputError
from textvae.modeling.load import load_model

SHARDED = {"max_shard_size": "5KB"}


@pytest.fixture
def save(make_model, tmp_path):
    """options of save_pretrained → the directory, and the model in it."""

    def save(name="model", **options):
        model = make_model()
        model.save_pretrained(tmp_path / name, **options)
        return tmp_path / name, model

    return save


def weights_in(directory):
    return sorted(path.name for path in directory.glob("*.safetensors*"))


def flip(path, place: float) -> None:
    """Change one bit at this share of the file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def assert_same(one, other) -> None:
    weights = other.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("place", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("options", [{}, SHARDED], ids=["whole", "sharded"])
@pytest.mark.parametrize("opened", [lambda name: load_model(name, "auto"), AutoModel.from_pretrained])
def test_one_bit_that_has_changed_is_noticed(save, options, place, opened):
    directory, model = save(**options)
    assert_same(opened(str(directory)), model)
    for path in directory.glob("*.safetensors"):
        flip(path, place)
    with pytest.raises(InputError, match="are corrupt"):
        opened(str(directory))


def test_weights_without_a_checksum_open_and_get_one_when_they_are_saved(save, tmp_path):
    directory, model = save()
    weights = load_file(directory / "model.safetensors")
    name = "posterior.to_mean.bias"
    save_file(weights | {name: weights[name] + 1}, directory / "model.safetensors", metadata={"format": "pt"})
    opened = load_model(str(directory), "auto")
    assert torch.equal(opened.posterior.to_mean.bias, model.posterior.to_mean.bias + 1)
    AutoModel.from_pretrained(directory).save_pretrained(tmp_path / "again")
    assert_same(load_model(str(tmp_path / "again"), "auto"), opened)
    flip(tmp_path / "again" / "model.safetensors", 0.9)
    with pytest.raises(InputError, match="are corrupt"):
        load_model(str(tmp_path / "again"), "auto")


@pytest.mark.parametrize("options", [{}, SHARDED], ids=["whole", "sharded"])
def test_a_model_in_the_cache_of_the_hub_is_checked(save, options, tmp_path, monkeypatch):
    directory, model = save(**options)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--me--mine"
    snapshot = shutil.copytree(directory, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert_same(load_model("me/mine", "auto"), model)
    flip(sorted(snapshot.glob("*.safetensors"))[-1], 0.9)
    with pytest.raises(InputError, match="'me/mine' are corrupt"):
        load_model("me/mine", "auto")


@pytest.mark.parametrize("first, then", [({}, SHARDED), (SHARDED, {}), (SHARDED, {"max_shard_size": "20KB"})])
def test_no_old_weights_stay_beside_new_ones(save, first, then):
    directory, _ = save(**first)
    (directory / "notes.txt").write_text("mine")
    alone, _ = save("alone", **then)
    _, model = save(**then)
    assert weights_in(directory) == weights_in(alone)
    assert (directory / "notes.txt").read_text() == "mine"
    assert_same(load_model(str(directory), "auto"), model)


def test_a_variant_stands_beside_the_model(save):
    directory, model = save()
    save(variant="half")
    assert weights_in(directory) == ["model.half.safetensors", "model.safetensors"]
    flip(directory / "model.safetensors", 0.9)
    assert_same(AutoModel.from_pretrained(directory, variant="half"), model)

"""Files and checkpoints of models from before posterior and injection were modules of their own still open."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from textvae.modeling.load import load_model
from textvae.modeling.old_names import OLD_NAMES, before, renamed

KINDS = {
    "everything": {"pooling": "attention", "latent_injection": ["prefix", "embedding", "output"], "bag_of_words": True},
    "batch norm": {"mean_batch_norm": 0.6},
    "labels": {"label_names": ["a", "b", "c"]},
    "language model with labels": {"label_names": ["a", "b"], "latent_injection": "none"},
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def model(request, make_model):
    return make_model(**request.param)


@pytest.fixture
def old_file(model, tmp_path):
    """A directory as an older version wrote it."""
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {before(name): weight for name, weight in load_file(path).items()}
    assert weights.keys() != load_file(path).keys()
    save_file(weights, path, metadata={"format": "pt"})
    return tmp_path


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_name_of_today_stays_and_an_old_one_becomes_it(model):
    assert all(renamed(name) == name and renamed(before(name)) == name for name in model.state_dict())


def test_every_old_name_is_renamed_and_back():
    for pattern, today in OLD_NAMES.items():
        old = pattern.strip("^").replace("\\.", ".")
        assert renamed(f"{old}x") == f"{today}x" and before(f"{today}x") == f"{old}x"


def test_an_old_file_opens_with_every_weight(model, old_file):
    assert_same(load_model(str(old_file), "auto").state_dict(), model.state_dict())
    assert_same(AutoModel.from_pretrained(old_file).state_dict(), model.state_dict())


def test_opened_and_saved_again_it_has_the_names_of_today(model, old_file, tmp_path):
    load_model(str(old_file), "auto").save_pretrained(tmp_path / "new")
    saved = load_file(tmp_path / "new" / "model.safetensors")
    assert saved.keys() <= model.state_dict().keys()
    assert_same(load_model(str(tmp_path / "new"), "auto").state_dict(), model.state_dict())


def test_an_old_checkpoint_loads_into_a_model_of_today(model, make_model):
    old = {before(name): weight for name, weight in model.state_dict().items()}
    other = type(model)(model.config)
    other.load_state_dict(old)
    assert_same(other.state_dict(), model.state_dict())

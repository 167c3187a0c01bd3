"""Directions: the known one is found, length is left out, the unit is the distance of the means, saved and damaged."""

import pytest
import torch
from safetensors.torch import save_file

from textvae import InputError
from textvae.latents import Directions
from textvae.latents.directions import fit_step, length_direction

N, Z = 4000, 6
ATTRIBUTE, LENGTH = torch.eye(Z)[1], torch.eye(Z)[4]
METHODS = ["mean", "logistic"]


@pytest.fixture(scope="module")
def classes():
    """z whose dimension 1 tells the classes apart by 1.5, and whose dimension 4 is the length, which differs too."""
    generator = torch.Generator().manual_seed(0)
    is_positive = torch.rand(N, generator=generator) < 0.3
    lengths = torch.randint(3, 20, (N,), generator=generator) + 4 * is_positive
    latents = 0.5 * torch.randn(N, Z, generator=generator) + 1.5 * is_positive[:, None] * ATTRIBUTE
    return latents + 0.1 * lengths[:, None] * LENGTH, is_positive, lengths


@pytest.mark.parametrize("method", METHODS)
def test_the_known_direction_is_found_and_length_is_left_out(classes, method):
    step = fit_step(*classes, method)
    torch.testing.assert_close(step, 1.5 * ATTRIBUTE, atol=0.06, rtol=0)
    torch.testing.assert_close(length_direction(*classes).float(), LENGTH, atol=0.1, rtol=0)
    assert abs(step.double() @ length_direction(*classes)) < 1e-6 * step.norm()


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_as_long_as_the_means_are_apart_along_it(classes, method):
    latents, is_positive, _ = classes
    step = fit_step(*classes, method).double()
    apart = (latents[is_positive].double().mean(0) - latents[~is_positive].double().mean(0)) @ step / step.norm()
    assert apart == pytest.approx(float(step.norm()), rel=1e-5)
    torch.testing.assert_close(fit_step(latents, ~is_positive, classes[2], method), -step.float(), atol=1e-3, rtol=0)


def test_texts_that_are_all_as_long_have_no_direction_of_length(classes):
    latents, is_positive, lengths = classes
    apart = latents[is_positive].mean(0) - latents[~is_positive].mean(0)
    torch.testing.assert_close(fit_step(latents, is_positive, torch.full_like(lengths, 7)), apart)


def test_a_name_is_replaced_and_the_others_stay(classes):
    first = Directions(torch.ones(Z)).fit("mood", *classes)
    both = first.fit("other", *classes, "logistic").fit("mood", *classes, "logistic")
    assert list(first.steps) == ["mood"] and list(both.steps) == ["mood", "other"]
    assert both.step("mood").equal(both.step("other")) and not both.step("mood").equal(first.step("mood"))


def test_they_are_saved_and_know_their_model(classes, tmp_path):
    directions = Directions(torch.arange(1.0, 1 + Z)).fit("mood", *classes).fit("v1.2-b_c", *classes, "logistic")
    directions.save(tmp_path / "file")
    opened = Directions.load(tmp_path / "file")
    assert opened.steps.keys() == directions.steps.keys()
    assert all(opened.step(name).equal(step) for name, step in directions.steps.items())
    space = directions.space
    assert opened.belong_to(space) and opened.belong_to(space.bfloat16().float())
    assert not opened.belong_to(space * 1.1) and not opened.belong_to(space.flip(0))
    assert not opened.belong_to(torch.ones(Z + 1))


@pytest.mark.parametrize(
    "tensors",
    [
        {"space": torch.ones(3), "step.mood": torch.ones(4)},
        {"space": torch.ones(3), "step.mood": torch.full((3,), torch.nan)},
        {"space": torch.ones(3), "mood": torch.ones(3)},
        {"space": torch.ones(3, 3)},
        {"step.mood": torch.ones(3)},
    ],
)
def test_a_file_that_holds_anything_else_is_refused(tensors, tmp_path):
    save_file(tensors, tmp_path / "file")
    with pytest.raises(InputError, match="holds no directions"):
        Directions.load(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"nothing")
    with pytest.raises(InputError, match="holds no directions"):
        Directions.load(tmp_path / "file")


def test_what_cannot_be_fitted_is_refused(classes, monkeypatch):
    latents, is_positive, lengths = classes
    for own, kind in ((torch.ones(N), "negative"), (torch.zeros(N), "positive")):
        with pytest.raises(InputError, match=f"none is {kind}"):
            fit_step(latents, own.bool(), lengths)
    with pytest.raises(InputError, match="4 texts for the 6 dimensions"):
        fit_step(latents[:4], torch.tensor([True, False, True, False]), lengths[:4])
    with pytest.raises(InputError, match="not finite"):
        fit_step(latents / 0, is_positive, lengths)
    twice = torch.cat([latents, latents]), torch.arange(2 * N) < N, torch.cat([lengths, lengths])
    for method in METHODS:
        with pytest.raises(InputError, match="do not differ"):
            fit_step(*twice, method)
    with pytest.raises(InputError, match="'mean' or 'logistic'"):
        fit_step(*classes, "median")
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install"):
        fit_step(*classes, "logistic")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "ä", "x" * 101, 3, None, "a\n"])
def test_a_name_that_is_no_key_is_refused(classes, name):
    with pytest.raises(InputError, match="The name of a direction is"):
        Directions(torch.ones(Z)).fit(name, *classes)


def test_an_unknown_name_gives_the_nearest_right_one(classes):
    directions = Directions(torch.ones(Z)).fit("mood", *classes).fit("tense", *classes)
    with pytest.raises(InputError, match="did you mean 'mood'"):
        directions.step("modd")
    with pytest.raises(InputError, match="fit one"):
        Directions(torch.ones(Z)).step("mood")

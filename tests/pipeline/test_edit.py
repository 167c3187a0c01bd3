"""Directions, edits, analogies and traversals of a pipeline: what holds exactly, what is saved, what is refused."""

import pandas
import pytest
import torch
from datasets import ClassLabel, Dataset
from tiny_pipelines import LABELS, LATENT_SIZE, TEXTS, build

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.latents import Directions, principal_axes
from textvae.latents.directions import fit_step, length_direction
from textvae.pipeline.directions import DIRECTIONS_FILE

POSITIVE, NEGATIVE = TEXTS[:2], TEXTS[2:]
MODELS = [("gru", ()), ("llama", ()), ("gru", LABELS), ("llama", LABELS)]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: f"{model[0]}{'-labels' * bool(model[1])}")
def pipeline(request):
    built = build(*request.param)
    built.fit_direction("mood", POSITIVE, NEGATIVE, **label(built))
    return built


@pytest.fixture
def plain():
    built = build()
    built.fit_direction("mood", POSITIVE, NEGATIVE)
    return built


def label(pipeline) -> dict:
    return {"label": LABELS[1]} if pipeline.model.config.label_names else {}


def test_the_step_is_that_of_the_z_and_the_lengths(pipeline):
    means = pipeline.encode(TEXTS, **label(pipeline))
    ids = pipeline.tokenizer(TEXTS, truncation=True)["input_ids"]
    is_positive, lengths = torch.tensor([True, True, False, False]), torch.tensor([min(5, len(row)) for row in ids])
    torch.testing.assert_close(pipeline.directions.step("mood"), fit_step(means, is_positive, lengths))
    cosine = pipeline.directions.step("mood").double() @ length_direction(means, is_positive, lengths)
    assert abs(cosine) < 1e-4


def test_strength_0_is_a_reconstruction_and_others_move_z(pipeline):
    own, step = label(pipeline), pipeline.directions.step("mood")
    for controls in ({}, {"num_candidates": 3}, {"num_beams": 2}):
        assert pipeline.edit(TEXTS, "mood", 0, **own, **controls) == pipeline.reconstruct(TEXTS, **own, **controls)
    z = pipeline.encode(TEXTS, **own)
    for strength in (-2.0, 1.0, 30.0):
        expected = pipeline.decode(z + strength * step, **own)
        assert pipeline.edit(TEXTS, "mood", strength, **own) == expected
        assert pipeline.edit(TEXTS[0], "mood", strength, **own) == expected[0]


def test_opposite_strengths_write_other_texts(plain):
    assert plain.edit(TEXTS, "mood", 30) != plain.edit(TEXTS, "mood", -30)


def test_batches_change_nothing(pipeline):
    own = label(pipeline)
    for size in (1, 3):
        assert pipeline.edit(TEXTS, "mood", 3, batch_size=size, **own) == pipeline.edit(TEXTS, "mood", 3, **own)
        other = [pipeline.analogy(TEXTS, TEXTS[::-1], TEXTS, batch_size=batch, **own) for batch in (size, 64)]
        assert other[0] == other[1]
        ways = [pipeline.traverse(TEXTS, 1, 3, batch_size=batch, **own) for batch in (size, 64)]
        assert ways[0] == ways[1]


def test_an_analogy_is_a_parallelogram(pipeline):
    own = label(pipeline)
    assert pipeline.analogy(TEXTS, TEXTS, TEXTS[::-1], **own) == pipeline.reconstruct(TEXTS[::-1], **own)
    a, b, c = TEXTS[:3]
    assert pipeline.analogy(a, a, c, **own) == pipeline.reconstruct(c, **own) == pipeline.analogy(c, c, c, **own)
    z = pipeline.encode([a, b, c], **own)
    assert pipeline.analogy(a, b, c, **own) == pipeline.decode(z[2] + z[1] - z[0], **own)


def test_a_traversal_moves_one_dimension(pipeline):
    own, z = label(pipeline), pipeline.encode(TEXTS, **label(pipeline))
    ways = pipeline.traverse(TEXTS, LATENT_SIZE - 1, num_steps=5, reach=8, **own)
    assert [way[2] for way in ways] == pipeline.reconstruct(TEXTS, **own)
    for place, move in enumerate([-8.0, -4.0, 0.0, 4.0, 8.0]):
        moved = z + move * torch.eye(LATENT_SIZE)[LATENT_SIZE - 1]
        assert [way[place] for way in ways] == pipeline.decode(moved, **own)
    assert pipeline.traverse(TEXTS[0], LATENT_SIZE - 1, num_steps=5, reach=8, **own) == ways[0]
    assert len(pipeline.traverse(TEXTS[0], 0, **own)) == 7


def test_a_traversal_of_principal_axes_moves_in_standard_deviations(pipeline):
    own = label(pipeline)
    pipeline.fit_prior(TEXTS * 4, **own)
    axis = principal_axes(pipeline.priors["gaussian"])[-1, 0]  # of the label, or the only ones
    z = pipeline.encode(TEXTS, **own)
    ways = pipeline.traverse(TEXTS, 0, num_steps=3, reach=9, axes="principal", **own)
    assert [list(column) for column in zip(*ways, strict=True)] == [
        pipeline.decode(z + move * axis, **own) for move in (-9, 0, 9)
    ]
    with pytest.raises(InputError, match="'dimensions' or 'principal'"):
        pipeline.traverse(TEXTS, 0, axes="main", **own)
    pipeline.priors = {}
    with pytest.raises(InputError, match="fit one with TextVAEPipeline.fit_prior"):
        pipeline.traverse(TEXTS, 0, axes="principal", **own)


def test_a_table_names_the_positive_texts(plain):
    names = ["mood", "mood", "gloom", "grief"]
    table = pandas.DataFrame({"text": TEXTS, "label": names})
    features = Dataset.from_pandas(table).cast_column("label", ClassLabel(names=["gloom", "grief", "mood"]))
    for data in (table, {"text": TEXTS, "label": names}, Dataset.from_pandas(table), features):
        again = build()
        again.fit_direction("mood", data)
        assert again.directions.step("mood").equal(plain.directions.step("mood"))
    plain.fit_direction("1", pandas.DataFrame({"text": TEXTS, "label": [1, 1, 0, 0]}), method="mean")
    assert plain.directions.step("1").equal(plain.directions.step("mood"))
    for strange, message in (
        (table.rename(columns={"label": "class"}), "no column 'label' but text, class"),
        (table.assign(label="grim"), "did you mean 'grim'"),
        (table.assign(label="mood"), "none is negative"),
        (table.iloc[:0], "none is positive"),
        (TEXTS, "negative is missing"),
    ):
        with pytest.raises(InputError, match=message):
            plain.fit_direction("mood", strange)


def test_they_are_saved_with_the_model_and_go_with_it(plain, tmp_path):
    plain.fit_direction("probe", POSITIVE, NEGATIVE, method="logistic")
    plain.save_pretrained(tmp_path)
    opened = TextVAEPipeline.from_pretrained(tmp_path)
    for name in ("mood", "probe"):
        assert opened.directions.step(name).equal(plain.directions.step(name))
        assert opened.edit(TEXTS, name, -2) == plain.edit(TEXTS, name, -2)
    assert list(TextVAEPipeline.from_pretrained(tmp_path, dtype="float16").directions.steps) == ["mood", "probe"]
    plain.merge_and_save(tmp_path / "merged")
    assert "mood" in TextVAEPipeline.from_pretrained(tmp_path / "merged").directions.steps
    build().save_pretrained(tmp_path)  # a model without any replaces all
    assert TextVAEPipeline.from_pretrained(tmp_path).directions is None


def test_damaged_ones_or_those_of_another_model_do_not_open(plain, tmp_path):
    plain.save_pretrained(tmp_path)
    path = tmp_path / DIRECTIONS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="corrupt"):
        TextVAEPipeline.from_pretrained(tmp_path)
    other = build("llama")
    other.fit_direction("mood", POSITIVE, NEGATIVE)  # of the same width
    other.directions.save(path)
    with pytest.raises(InputError, match="of another model"):
        TextVAEPipeline.from_pretrained(tmp_path)
    for wrong in (other.directions, Directions(torch.ones(7))):
        with pytest.raises(InputError, match="of another model"):
            TextVAEPipeline(plain.model, plain.tokenizer, directions=wrong)
    with pytest.raises(InputError, match="give Directions"):
        TextVAEPipeline(plain.model, plain.tokenizer, directions={"mood": torch.ones(LATENT_SIZE)})


def test_those_of_a_model_that_was_trained_since_are_neither_used_nor_saved(plain, tmp_path):
    with torch.no_grad():
        plain.model.posterior.to_mean.weight[0] *= 2
    for refused in (
        lambda: plain.edit(TEXTS, "mood"),
        lambda: plain.save_pretrained(tmp_path / "model"),
        lambda: plain.fit_direction("other", POSITIVE, NEGATIVE),
    ):
        with pytest.raises(InputError, match="trained since"):
            refused()
    assert not (tmp_path / "model").exists()
    plain.directions = None
    plain.fit_direction("mood", POSITIVE, NEGATIVE)
    assert len(plain.edit(TEXTS, "mood")) == len(TEXTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mood", [], []), "none is positive"),
        (("mood", TEXTS, []), "none is negative"),
        (("mood", POSITIVE[:1], NEGATIVE[:1]), "2 texts for the 3 dimensions"),
        (("mood", TEXTS, TEXTS), "do not differ"),
        (("mood", ["pizza"] * 3, ["pizza"] * 3), "do not differ"),
        (("my mood", POSITIVE, NEGATIVE), "name of a direction"),
        (("../mood", POSITIVE, NEGATIVE), "name of a direction"),
        ((None, POSITIVE, NEGATIVE), "name of a direction"),
        (("mood", POSITIVE, NEGATIVE, "probe"), "'mean' or 'logistic'"),
        (("mood", POSITIVE, ["", "pizza"]), "blank"),
        (("mood", pandas.DataFrame({"a": POSITIVE}), NEGATIVE), "by column"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, message):
    pipeline = build()
    with pytest.raises(InputError, match=message):
        pipeline.fit_direction(*arguments)
    assert pipeline.directions is None


def test_what_cannot_be_edited_is_refused(plain):
    for strength in (float("nan"), float("inf"), "1", None, 1e300, True):
        with pytest.raises(InputError, match="strength is"):
            plain.edit(TEXTS, "mood", strength)
    with pytest.raises(InputError, match="did you mean 'mood'"):
        plain.edit(TEXTS, "moods")
    with pytest.raises(InputError, match="fit one with fit_direction"):
        build().edit(TEXTS, "mood")
    assert plain.edit([], "mood") == plain.analogy([], [], []) == plain.traverse([], 0) == []
    with pytest.raises(InputError, match="three texts"):
        plain.analogy(TEXTS, TEXTS, TEXTS[:3])
    with pytest.raises(InputError, match="three texts"):
        plain.analogy(TEXTS[:1], TEXTS[:1], TEXTS[0])
    for dimension in (-1, LATENT_SIZE, 1.0, "0"):
        with pytest.raises(InputError, match="dimension is"):
            plain.traverse(TEXTS, dimension)
    for reach in (0, -1, float("nan"), 1e30):
        with pytest.raises(InputError, match="reach is"):
            plain.traverse(TEXTS, 0, reach=reach)
    with pytest.raises(InputError, match="num_steps"):
        plain.traverse(TEXTS, 0, num_steps=1)


def test_a_model_without_z_has_no_directions():
    pipeline = build()
    settings = pipeline.model.config.to_dict() | {"latent_injection": "none"}
    without = TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)), pipeline.tokenizer)
    with pytest.raises(InputError, match="without z"):
        without.fit_direction("mood", POSITIVE, NEGATIVE)


def test_a_model_with_labels_needs_them():
    pipeline = build(label_names=LABELS)
    with pytest.raises(InputError, match="has labels"):
        pipeline.fit_direction("mood", POSITIVE, NEGATIVE)
    pipeline.fit_direction("mood", POSITIVE, NEGATIVE, label=[LABELS[0], LABELS[1]] * 2)
    with pytest.raises(InputError, match="has labels"):
        pipeline.edit(TEXTS, "mood")

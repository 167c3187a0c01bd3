"""edit, analogy, detect and fit_prior: what they write is what Python gives, and what they lack is said."""

import shutil

import pytest
from tiny_pipelines import LABELS
from tiny_runs import SENTENCES, write_lines

from textvae import TextVAEPipeline

PRAISE, COMPLAINTS = ([text for text in SENTENCES if word in text] for word in ("like", "never"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    place = tmp_path_factory.mktemp("classes")
    positive, negative = write_lines(place / "praise.txt", PRAISE), write_lines(place / "complaints.txt", COMPLAINTS)
    return ["--positive", positive, "--negative", negative]


@pytest.mark.parametrize("name", ["gru", "llama"])
def test_edit_and_analogy_are_those_of_python(textvae, models, opened, classes, name):
    vae, texts = opened[name], SENTENCES[:70]
    vae.fit_direction("praise", PRAISE, COMPLAINTS)
    given = ["--strength", -1.5, "--batch_size", 8]
    done = textvae("edit", models[name], "praise", *classes, *given, stdin="\n".join(texts))
    assert done.code == 0, done.err
    assert done.lines == [text.strip() for text in vae.edit(texts, "praise", -1.5)]
    done = textvae("analogy", models[name], *texts[:3])
    assert done.out == f"{vae.analogy(*texts[:3])}\n"


def test_what_was_saved_with_the_model_is_used(textvae, opened, tmp_path):
    vae = opened["gru"]
    vae.fit_direction("praise", PRAISE, COMPLAINTS)
    vae.fit_detector(SENTENCES)
    vae.save_pretrained(tmp_path / "saved")
    done = textvae("edit", tmp_path / "saved", "praise", *SENTENCES[:2])
    assert (done.code, done.lines) == (0, vae.edit(SENTENCES[:2], "praise"))
    done = textvae("detect", tmp_path / "saved", *SENTENCES[:2])
    found = [line.split("\t") for line in done.lines]
    for text, one, (p_value, score, same, tokens) in zip(SENTENCES, vae.detect(SENTENCES[:2]), found, strict=False):
        assert (float(p_value), same) == (pytest.approx(one.p_value, abs=1e-4), text)
        assert float(score) == pytest.approx(one.score, abs=1e-3) and len(tokens.split(", ")) == 3
    assert "did you mean 'praise'" in textvae("edit", tmp_path / "saved", "prase", "we like pizza").err


def test_detect_fits_to_normal_texts_of_a_file(textvae, models, opened, tmp_path):
    normal = write_lines(tmp_path / "usual.txt")
    opened["gru"].fit_detector(SENTENCES)
    expected = [f"{one.p_value:.4f}" for one in opened["gru"].detect(SENTENCES[:30])]
    done = textvae("detect", models["gru"], "--normal", normal, "--num_tokens", 0, stdin="\n".join(SENTENCES[:30]))
    assert [line.split("\t")[0] for line in done.lines] == expected


@pytest.mark.parametrize("name", ["gru", "labels"])
def test_a_prior_is_fitted_and_kept_and_sampled_from(textvae, models, opened, tmp_path, name):
    place = shutil.copytree(models[name], tmp_path / name)
    rows = [f"{text}\t{LABELS[i % 2]}" for i, text in enumerate(SENTENCES)]
    given = ["--file", write_lines(tmp_path / "corpus.tsv", ["text\tlabel", *rows]), "--max_texts", 30]
    given += ["--label_column", "label"] if name == "labels" else []
    label = ["--label", LABELS[0]] if name == "labels" else []
    done = textvae("sample", place, "--prior", "mixture", *label)
    assert done.code == 2 and "no fitted mixture" in done.err and "textvae fit_prior" in done.err
    assert textvae("fit_prior", place, "mixture", *given).code == 0
    vae = TextVAEPipeline.from_pretrained(place)
    assert list(vae.priors) == ["mixture"]
    done = textvae("sample", place, "--prior", "mixture", "--num_samples", 70, *label)
    assert done.lines == [text.strip() for text in vae.sample(70, prior="mixture", seed=0, label=(label or [None])[-1])]
    before = (place / "prior_mixture.safetensors").read_bytes()
    done = textvae("fit_prior", place, "mixture", *given, "--seed", 1)
    assert done.code == 2 and "--overwrite" in done.err
    assert (place / "prior_mixture.safetensors").read_bytes() == before
    assert textvae("fit_prior", place, "mixture", *given, "--seed", 1, "--overwrite").code == 0
    (place / "prior_flow.safetensors").write_bytes(before[:100])
    done = textvae("sample", place, *label)
    assert done.code == 2 and "prior_flow.safetensors is corrupt" in done.err and "delete it" in done.err
    (place / "prior_flow.safetensors").unlink()
    assert (place / "prior_mixture.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fit_prior", "{model}", "mixtur", "--file", "{file}"], "did you mean 'mixture'"),
        (["fit_prior", "{model}", "mixture", "--file", "{file}"], "10 texts at least"),
        (["fit_prior", "nowhere/model", "flow", "--file", "{file}"], "is no directory"),
        (["sample", "{model}", "--prior", "flw"], "did you mean 'flow'"),
        (["edit", "{model}", "praise", "we like pizza"], "There is no direction 'praise'; fit one"),
        (["edit", "{model}", "praise", "we like pizza", "--positive", "{file}"], "both --positive and --negative"),
        (["edit", "{model}", "praise", "we like pizza", "--strength", "nan"], "strength"),
        (["analogy", "{model}", "we like pizza", " ", "we like music"], "Text B is blank"),
        (["detect", "{model}", "we like pizza"], "has no detector"),
        (["detect", "{model}", "we like pizza", "--normal", "{file}"], "held-out texts"),
        (["detect", "{model}", "--normal", "{file}", "we like pizza"], "Texts stand before a flag"),
        (
            ["edit", "{model}", "praise", "we like", "--positive", "{file}", "--negative", "few.text"],
            "no file few.text",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(textvae, models, tmp_path, words, told):
    places = {"model": models["llama"], "file": write_lines(tmp_path / "few.txt", SENTENCES[:9])}
    done = textvae(*(word.format(**places) for word in words))
    assert done.code == 2 and told in done.err and done.out == "" and done.err.count("\n") == 1

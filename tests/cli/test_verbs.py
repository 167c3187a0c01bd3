"""The command line gives, line by line, what Python gives, though it reads and writes part by part."""

import json
import random

import numpy as np
import pandas
import pytest
from tiny_pipelines import LABELS, WORDS

pytestmark = pytest.mark.slow

NUMBER = random.Random(0)
TEXTS = [" ".join(NUMBER.choices(WORDS, k=NUMBER.randint(1, 4))) for _ in range(75)]
LINES = "\n".join(TEXTS) + "\n"
PARTS = ["--batch_size", 2, "--device", "cpu"]  # of 2, 32, 32 and 9 texts
EITHER = pytest.mark.parametrize("name", ["gru", "llama"])


@EITHER
def test_reconstruct(textvae, models, opened, name):
    done = textvae("reconstruct", models[name], *PARTS, "--num_beams", 2, stdin=LINES)
    assert done.lines == opened[name].reconstruct(TEXTS, num_beams=2)
    assert (done.code, done.err) == (0, "")


@EITHER
def test_denoise(textvae, models, opened, name):
    noisy = [text.replace("movie", "mvoie") for text in TEXTS]
    done = textvae("denoise", models[name], *PARTS, "--closeness", 0.5, stdin="\n".join(noisy) + "\n")
    assert done.lines == opened[name].denoise(noisy, 0.5)
    assert done.code == 0 and done.err.count("trained without noise") <= 1


@EITHER
def test_score(textvae, models, opened, name):
    done = textvae("score", models[name], *PARTS, "--num_samples", 5, "--seed", 3, stdin=LINES)
    scores, texts = zip(*(line.split("\t") for line in done.lines), strict=True)
    assert list(texts) == TEXTS
    assert list(map(float, scores)) == pytest.approx(opened[name].score(TEXTS, 5, seed=3), abs=2e-4)
    assert all(len(score.partition(".")[2]) == 4 for score in scores)


@EITHER
@pytest.mark.parametrize("ending", ["npy", "safetensors", "parquet"])
def test_encode_and_decode(textvae, models, opened, tmp_path, name, ending):
    file, vae = tmp_path / f"codes.{ending}", opened[name]
    assert textvae("encode", models[name], *PARTS, "--output", file, stdin=LINES) == ("", "", 0)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    np.testing.assert_allclose(read(file), vae.encode(TEXTS), atol=1e-5)
    done = textvae("decode", models[name], *PARTS, "--file", file, file)
    assert done.lines == vae.decode(read(file)) * 2


def read(file):
    """The vectors of a file, by another reader than that of `decode`."""
    if file.suffix == ".npy":
        return np.load(file)
    if file.suffix == ".parquet":
        import pandas

        table = pandas.read_parquet(file)
        assert list(table["text"]) == TEXTS
        return np.stack(table["latents"])
    from safetensors.numpy import load_file

    return load_file(file)["latents"]


def test_encode_pipes_into_decode(textvae, models, opened):
    vectors = textvae("encode", models["gru"], *PARTS, stdin=LINES)
    codes = opened["gru"].encode(TEXTS)
    np.testing.assert_allclose(np.loadtxt(vectors.lines), codes, atol=1e-5)
    assert textvae("decode", models["gru"], stdin=vectors.out).lines == opened["gru"].decode(codes)


def test_encode_draws_as_python_does(textvae, models, opened):
    done = textvae("encode", models["gru"], *PARTS, "--sample", "--seed", 4, "--format", "jsonl", stdin=LINES)
    rows = [json.loads(line) for line in done.lines]
    assert [row["text"] for row in rows] == TEXTS
    drawn = opened["gru"].encode(TEXTS, sample=True, seed=4)
    np.testing.assert_allclose([row["latents"] for row in rows], drawn, atol=1e-5)


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "tsv"])
def test_encode_with_standard_deviations(textvae, models, opened, tmp_path, ending):
    file = tmp_path / f"codes.{ending}"
    done = textvae("encode", models["gru"], *PARTS, "--return_std", "--output", file, stdin=LINES)
    assert (done.code, done.err) == (0, "")
    readers = {"parquet": pandas.read_parquet, "jsonl": lambda path: pandas.read_json(path, lines=True)}
    if ending == "tsv":
        table = pandas.read_csv(file, sep="\t")
        found = [table[[f"{kind}_{number}" for number in (1, 2, 3)]].to_numpy() for kind in ("z", "std")]
    else:
        table = readers[ending](file)
        found = [np.stack(table[name]) for name in ("latents", "std")]
    for own, expected in zip(found, opened["gru"].encode(TEXTS, return_std=True), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-5)
    for other in ([], ["--output", tmp_path / "codes.npy"]):
        refused = textvae("encode", models["gru"], "pizza", "--return_std", *other)
        assert refused.code == 2 and "add --format jsonl" in refused.err


def test_decode_with_scores(textvae, models, opened):
    vectors = textvae("encode", models["gru"], *PARTS, stdin=LINES)
    expected = opened["gru"].decode(opened["gru"].encode(TEXTS), return_scores=True)
    done = textvae("decode", models["gru"], *PARTS, "--return_scores", stdin=vectors.out)
    assert [line.split("\t")[1] for line in done.lines] == [text for text, _ in expected]
    scores = [float(line.split("\t")[0]) for line in done.lines]
    assert scores == pytest.approx([nats for _, nats in expected], abs=2e-4)
    table = textvae("decode", models["gru"], "--return_scores", "--format", "tsv", stdin=vectors.out).lines
    assert table[0] == "score\ttext" and len(table) == 1 + len(TEXTS)


@EITHER
def test_sample(textvae, models, opened, name):
    words = ["--num_samples", 41, "--temperature", 0.9, "--seed", 6]
    assert textvae("sample", models[name], *PARTS, *words).lines == opened[name].sample(41, 0.9, seed=6)


@EITHER
def test_interpolate(textvae, models, opened, tmp_path, name):
    table = tmp_path / "pairs.tsv"
    table.write_text("from\tto\n" + "".join(f"{one}\t{other}\n" for one, other in zip(TEXTS, TEXTS[1:], strict=False)))
    ways = opened[name].interpolate(TEXTS[:-1], TEXTS[1:], 3, "spherical")
    words = ["--num_steps", 3, "--path", "spherical"]
    done = textvae("interpolate", models[name], *TEXTS[:2], *words)
    assert done.lines == ways[0]
    columns = ["--file", table, "--start_column", "from", "--end_column", "to"]
    assert textvae("interpolate", models[name], *columns, *PARTS, *words).lines == [
        text for way in ways for text in way
    ]
    short = opened[name].interpolate(*TEXTS[:2], 9, dedupe=True)
    assert textvae("interpolate", models[name], *TEXTS[:2], "--num_steps", 9, "--dedupe").lines == short
    pairs = table.read_text().partition("\n")[2]
    done = textvae("interpolate", models[name], *PARTS, *words, "--format", "jsonl", stdin=pairs)
    assert [json.loads(line)["texts"] for line in done.lines] == ways


@EITHER
def test_traverse(textvae, models, opened, name):
    ways = opened[name].traverse(TEXTS[:2], 2, 3, 20.0)
    words = ["--dimension", 2, "--num_steps", 3, "--reach", 20, *PARTS]
    assert textvae("traverse", models[name], *TEXTS[:2], *words).lines == [text for way in ways for text in way]
    table = textvae("traverse", models[name], *TEXTS[:2], *words, "--format", "tsv").lines
    assert table[0] == "text\ttext_1\ttext_2\ttext_3" and table[1].split("\t") == [TEXTS[0], *ways[0]]
    for more, told in ((["--dimension", 999], "dimension is 999"), (["--axes", "principal"], "fit_prior")):
        refused = textvae("traverse", models[name], TEXTS[0], *more)
        assert refused.code == 2 and told in refused.err


@EITHER
def test_paraphrase(textvae, models, opened, name):
    words = ["--num_return_sequences", 2, "--num_candidates", 3, "--seed", 5, *PARTS]
    found = opened[name].paraphrase(TEXTS[:40], 2, num_candidates=3, seed=5)
    some = "\n".join(TEXTS[:40])
    assert any(found)
    done = textvae("paraphrase", models[name], *words, stdin=some)
    assert done.lines == [line for text, own in zip(TEXTS, found, strict=False) for line in indented(text, own)]
    table = textvae("paraphrase", models[name], *words, "--format", "tsv", stdin=some).lines
    assert table[0] == "text\tparaphrase_1\tparaphrase_2"
    assert [[cell for cell in row.split("\t")[1:] if cell] for row in table[1:]] == found


def indented(text, own):
    return [text, *(f"  {paraphrase}" for paraphrase in own)]


def test_labels_are_a_name_or_a_column(textvae, models, opened, tmp_path):
    moods = [LABELS[len(text) % 2] for text in TEXTS]
    table = tmp_path / "moods.csv"
    table.write_text("words,mood\n" + "".join(f'"{text}",{mood}\n' for text, mood in zip(TEXTS, moods, strict=True)))
    columns = ["--file", table, "--text_column", "words", "--label_column", "mood", *PARTS]
    vae, model = opened["labels"], models["labels"]
    assert textvae("reconstruct", model, *columns).lines == vae.reconstruct(TEXTS, label=moods)
    done = textvae("reconstruct", model, "--label", "sunny", *PARTS, stdin=LINES)
    assert done.lines == vae.reconstruct(TEXTS, label="sunny")
    assert textvae("sample", model, "--label", "gloomy").lines == vae.sample(10, seed=0, label="gloomy")
    refused = textvae("reconstruct", model, TEXTS[0])
    assert refused.code == 2 and "give label, one of" in refused.err
    refused = textvae("reconstruct", model, TEXTS[0], "--label_column", "mood")
    assert refused.code == 2 and "give a --file" in refused.err
    refused = textvae("reconstruct", models["gru"], TEXTS[0], "--label", "sunny")
    assert refused.code == 2 and "has no labels" in refused.err

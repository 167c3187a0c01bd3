"""Results: formats, files that are whole or not there, and runs that are continued."""

import json

import pytest
from tiny_pipelines import TEXTS

pytestmark = pytest.mark.slow

MANY = TEXTS * 12
LINES = "\n".join(MANY) + "\n"
RUNS = {
    "score.tsv": ["score", "--num_samples", 2],
    "reconstruct.txt": ["reconstruct"],
    "encode.jsonl": ["encode", "--sample"],
    "encode.tsv": ["encode", "--sample", "--seed", 2],
    "paraphrase.jsonl": ["paraphrase", "--num_candidates", 2],
    "paraphrase.tsv": ["paraphrase", "--num_return_sequences", 1, "--seed", 1],
    "denoise.tsv": ["denoise"],
    "sample.txt": ["sample", "--num_samples", 40, "--seed", 3],
    "interpolate.jsonl": ["interpolate", "--num_steps", 2],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_continued_run_leaves_what_an_uninterrupted_one_leaves(textvae, models, tmp_path, name):
    (command, *options), whole = RUNS[name], tmp_path / name
    lines = "".join(f"{text}\tpizza\n" for text in MANY) if command == "interpolate" else LINES
    words = [command, models["gru"], *options, "--batch_size", 2, "--output"]
    assert textvae(*words, whole, stdin=lines).code == 0
    expected = whole.read_bytes().splitlines(keepends=True)
    assert len(expected) == (len(MANY) if command != "sample" else 40) + name.endswith("tsv")
    for number in (0, 1, 14):
        cut = tmp_path / f"cut.{whole.suffix}"
        cut.with_name(cut.name + ".partial").write_bytes(b"".join(expected[:number]) + expected[number][:3])
        again = [*words, cut, "--format", {".txt": "text"}.get(whole.suffix, whole.suffix[1:]), "--resume"]
        assert textvae(*again, stdin=lines) == ("", "", 0)
        assert close(cut.read_bytes(), whole.read_bytes())
        cut.unlink()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def close(left: bytes, right: bytes) -> bool:
    """Whether lines are equal but for the last digits of numbers, which other batches may change."""
    pairs = zip(left.replace(b",", b"\t").split(), right.replace(b",", b"\t").split(), strict=True)
    return all(one == other or number(one) == pytest.approx(number(other), abs=2e-4) for one, other in pairs)


def number(word: bytes) -> float:
    return float(word.strip(b"[]}"))


def test_a_run_goes_on_only_with_results_of_its_own_kind(textvae, models, tmp_path):
    for name, content in (("a.tsv", "a\tb\n1\t2\n3"), ("b.tsv", "rubbish"), ("c.jsonl", '{"other": 1}\n')):
        output = tmp_path / name
        output.write_text(content)
        done = textvae("score", models["gru"], "--num_samples", 2, "--output", output, "--resume", stdin=LINES)
        assert done.code == 2 and "results of another command" in done.err
        (left,) = tmp_path.iterdir()  # whole, or to be continued
        assert left.read_text() == content
        left.unlink()


def test_a_first_text_that_is_refused_leaves_no_file(textvae, models, tmp_path):
    done = textvae("infill", models["gru"], "no gap", "--output", tmp_path / "out.jsonl")
    assert done.code == 2 and not list(tmp_path.iterdir())


def test_a_complete_file_goes_on_with_more_texts(textvae, models, tmp_path):
    output = tmp_path / "out.txt"
    textvae("reconstruct", models["gru"], "--output", output, stdin=LINES)
    textvae("reconstruct", models["gru"], "--output", output, "--resume", stdin=LINES + "we like pizza\n")
    whole = textvae("reconstruct", models["gru"], stdin=LINES + "we like pizza\n")
    assert output.read_text() == whole.out
    refused = textvae("reconstruct", models["gru"], "--output", output, "--resume", stdin="pizza\n")
    assert refused.code == 2 and "49 results and the input is shorter" in refused.err
    assert output.read_text() == whole.out


def test_a_file_that_exists_is_kept_unless_it_is_to_be_replaced(textvae, models, tmp_path):
    output, part = tmp_path / "out.txt", tmp_path / "out.txt.partial"
    words = ["reconstruct", models["gru"], "pizza", "--output", output]
    for file in (output, part):
        file.write_text("mine\n")
        refused = textvae(*words)
        assert refused.code == 2 and f"{file} exists: add --resume" in refused.err and file.read_text() == "mine\n"
        file.unlink()
    output.write_text("mine\n")
    part.write_text("mine\n")
    assert textvae(*words, "--overwrite").code == 0
    assert output.read_text() == textvae("reconstruct", models["gru"], "pizza").out and not part.exists()


@pytest.mark.parametrize("ending", ["txt", "npy", "safetensors", "parquet"])
def test_a_run_that_fails_leaves_no_file_that_looks_complete(textvae, models, tmp_path, ending):
    words = ["encode", models["gru"], "--batch_size", 1, "--output", tmp_path / f"out.{ending}"]
    done = textvae(*words, stdin=LINES + " \n")
    assert done.code == 2 and f"Standard input, line {len(MANY) + 1} is blank" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ([f"out.{ending}.partial"] if ending == "txt" else [])


def test_formats(textvae, models, opened):
    texts = ["we like\tpizza", "the movie"]
    written = opened["gru"].reconstruct(texts)
    words = ["reconstruct", models["gru"], *texts, "--format"]
    assert textvae(*words, "text").lines == written
    rows = [json.loads(line) for line in textvae(*words, "jsonl").lines]
    assert rows == [{"text": text, "reconstruction": new} for text, new in zip(texts, written, strict=True)]
    table = textvae(*words, "tsv").lines
    assert table == ["text\treconstruction", f"we like pizza\t{written[0]}", f"the movie\t{written[1]}"]


def test_a_result_stays_on_its_line(textvae, models):
    done = textvae("score", models["gru"], "we like\r\npizza")
    assert len(done.lines) == 1 and done.lines[0].endswith("\twe like pizza")
    assert json.loads(textvae("score", models["gru"], "we\npizza", "--format", "jsonl").out)["text"] == "we\npizza"


REFUSED = {
    "both ways": (["reconstruct", "{model}", "a", "--output", "o", "--overwrite", "--resume"], "keep one of the two"),
    "nothing to resume": (["reconstruct", "{model}", "a", "--resume"], "add --output"),
    "vectors of texts": (["reconstruct", "{model}", "a", "--output", "o.npy"], "o.npy is a file of vectors"),
    "vectors to resume": (["encode", "{model}", "a", "--output", "o.npy", "--resume"], "give a .jsonl or .tsv"),
    "blocks to resume": (["paraphrase", "{model}", "a", "--output", "o.txt", "--resume"], "give a .jsonl or .tsv"),
    "words to resume": (["sample", "{model}", "--do_sample", "--output", "o", "--resume"], "random words"),
    "no such place": (["reconstruct", "{model}", "a", "--output", "no/where"], "no/where"),
    "a directory": (["reconstruct", "{model}", "a", "--output", "{model}"], "is a directory"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_output_that_cannot_be_used_is_refused(textvae, models, tmp_path, monkeypatch, kind):
    words, told = REFUSED[kind]
    monkeypatch.chdir(tmp_path)
    done = textvae(*(word.format(model=models["gru"]) for word in words))
    assert done.code == 2 and told in done.err and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())

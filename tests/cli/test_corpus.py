"""index, neighbours and map: what they write is what Python gives, and what they lack is said."""

import json

import pandas
import pytest
from tiny_pipelines import LABELS, WORDS

pytest.importorskip("faiss")
TEXTS = [f"{a} {b} pizza" for a in WORDS for b in WORDS[:7]]
LINES = "\n".join(TEXTS) + "\n"
PARTS = ["--batch_size", 2, "--device", "cpu"]  # of 2, 32, 32 and 4 texts
EITHER = pytest.mark.parametrize("name", ["gru", "llama"])


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus.txt").write_text(LINES)
    return tmp_path / "corpus.txt"


@EITHER
def test_neighbours_are_those_of_python(textvae, models, opened, corpus, name):
    expected = opened[name].neighbours(TEXTS, TEXTS, 3)
    done = textvae("neighbours", models[name], *PARTS, "--corpus", corpus, "--num_neighbours", 3, stdin=LINES)
    assert done.code == 0, done.err
    assert done.lines[::4] == TEXTS and done.lines[1::4] == [f"  1.000  {text}" for text in TEXTS]
    near = [line.split("  ")[1:] for number, line in enumerate(done.lines) if number % 4]
    cosines = [one.similarity for own in expected for one in own]
    assert [float(cosine) for cosine, _ in near] == pytest.approx(cosines, abs=6e-4)
    assert {text for _, text in near} <= {*TEXTS}


def test_a_corpus_with_fewer_texts_than_neighbours_is_told_once(textvae, models, corpus, caplog):
    done = textvae("neighbours", models["gru"], *PARTS, "--corpus", corpus, "--num_neighbours", 99, stdin=LINES)
    assert done.code == 0 and len(done.lines) == len(TEXTS) * (len(TEXTS) + 1)
    assert caplog.text.count(f"The corpus has {len(TEXTS)} texts") == 1


@EITHER
def test_an_index_is_kept_and_gives_the_same(textvae, models, opened, corpus, tmp_path, name):
    place, rest = tmp_path / "index", ["--format", "jsonl", *PARTS]
    assert textvae("index", models[name], *PARTS, "--file", corpus, "--output", place) == ("", "", 0)
    found = [textvae("neighbours", models[name], *TEXTS[:3], "--corpus", one, *rest) for one in (place, corpus)]
    assert found[0].code == 0 and found[0].out == found[1].out
    for line, own in zip(found[0].lines, opened[name].neighbours(TEXTS[:3], place), strict=True):
        result = json.loads(line)
        assert result["neighbours"] == [one.text for one in own] and result["rows"] == [one.row for one in own]
        assert result["similarities"] == pytest.approx([one.similarity for one in own], abs=1e-4)
    again = textvae("index", models[name], *PARTS, *TEXTS[:4], "--output", place)
    assert again.code == 2 and "holds an index" in again.err
    assert textvae("index", models[name], *PARTS, *TEXTS[:4], "--output", place, "--overwrite").code == 0
    table = textvae("neighbours", models[name], TEXTS[2], "--corpus", place, "--format", "tsv").lines
    assert table[0].split("\t")[:6] == ["text", *(f"neighbour_{n}" for n in range(1, 5)), "similarity_1"]
    assert table[1].split("\t")[:2] == [TEXTS[2]] * 2 and len(table[1].split("\t")) == 13
    assert {path.name for path in tmp_path.iterdir()} == {"index", "corpus.txt"}


@EITHER
def test_map_is_that_of_python(textvae, models, opened, tmp_path, name):
    file = tmp_path / "texts.tsv"
    file.write_text("text\tkind\n" + "".join(f"{text}\t{len(text) % 3}\n" for text in TEXTS))
    given = ["--file", file, "--label_column", "kind", *PARTS]
    assert textvae("map", models[name], *given, "--output", tmp_path / "map.parquet") == ("", "", 0)
    expected = opened[name].map(TEXTS, classes=[str(len(text) % 3) for text in TEXTS])
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(tmp_path / "map.parquet"), expected.table(), rtol=1e-3, atol=1e-4, check_dtype=False
    )
    again = textvae("map", models[name], *given, "--output", tmp_path / "map.parquet")
    assert again.code == 2 and "add --overwrite" in again.err
    pytest.importorskip("plotly")
    done = textvae("map", models[name], *given, "--output", tmp_path / "map.html")
    assert done == ("", "", 0) and TEXTS[3] in (tmp_path / "map.html").read_text(encoding="utf-8")


def test_labels_are_read_and_colour_the_map(textvae, models, opened, corpus, tmp_path):
    vae, label = opened["labels"], ["--label", LABELS[0]]
    assert textvae("map", models["labels"], *label, "--file", corpus, "--output", tmp_path / "map.parquet").code == 0
    expected = vae.map(TEXTS, label=LABELS[0]).table()
    found = pandas.read_parquet(tmp_path / "map.parquet")
    pandas.testing.assert_frame_equal(found, expected, rtol=1e-3, atol=1e-4, check_dtype=False)
    done = textvae("neighbours", models["labels"], TEXTS[8], "--corpus", corpus, *label)
    assert done.lines[1] == f"  1.000  {TEXTS[8]}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["neighbours", "{model}", "pizza"], "--corpus"),
        (["neighbours", "{model}", "pizza", "--corpus", "{tmp}/absent.txt"], "absent.txt"),
        (["neighbours", "{model}", "pizza", "--corpus", "{tmp}/other"], "of another model"),
        (["neighbours", "{model}", "pizza", "--corpus", "{tmp}/other", "{file}"], "other is an index: give it alone"),
        (["neighbours", "{model}", "pizza", "--corpus", "{file}", "--num_neighbours", "0"], "num_neighbours"),
        (["neighbours", "{model}", " ", "--corpus", "{file}"], "is blank"),
        (["neighbours", "{model}", "--corpus", "{file}", "we like pizza"], "Texts stand before a flag"),
        (["neighbours", "{model}", "pizza", "--corpus", "{tmp}/empty.txt"], "holds no text"),
        (["index", "{model}", "pizza"], "--output"),
        (["index", "{model}", "pizza", "--output", "{file}"], "is a file"),
        (["index", "{model}", "pizza", "--output", "{tmp}"], "holds other files"),
        (["index", "{model}", "--file", "nowhere.txt", "--output", "{tmp}/deep/index"], "nowhere.txt"),
        (["map", "{model}", "pizza", "--output", "{tmp}/map.html"], "needs 2 texts"),
        (["map", "{model}", "pizza", "we like", "--output", "{tmp}/map.png"], "another ending"),
        (["map", "{model}", "pizza", "we like", "--output", "{tmp}/absent/map.html"], "is in no directory"),
        (
            ["map", "{model}", "pizza", "we like", "--output", "{tmp}/map.html", "--method", "pcb"],
            "method must be one of",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(textvae, models, opened, corpus, tmp_path, words, told):
    opened["gru"].index(TEXTS).save(tmp_path / "other")
    (tmp_path / "empty.txt").write_text("\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    places = {"model": models["llama"], "file": corpus, "tmp": tmp_path}
    done = textvae(*(word.format(**places) for word in words))
    assert done.code == 2 and told in done.err and done.out == "" and done.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_without_the_extras_the_sentence_says_which_to_install(textvae, models, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    for words, extra in (
        (["neighbours", models["gru"], "pizza", "--corpus", corpus], "search"),
        (["index", models["gru"], "pizza", "--output", tmp_path / "index"], "search"),
        (["map", models["gru"], "--file", corpus, "--output", tmp_path / "map.html"], "map"),
    ):
        done = textvae(*words)
        assert done.code == 2 and f"pip install 'textvae[{extra}]'" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def write_labels(path, texts: list[str]) -> list[str]:
    labels = [LABELS[i % 2] for i in range(len(texts))]
    rows = [f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)]
    path.write_text("".join(["text\tlabel\n", *rows]))
    return labels


def test_labels_of_a_corpus_are_in_its_column(textvae, models, opened, tmp_path):
    labels, vae = write_labels(tmp_path / "table.tsv", TEXTS), opened["labels"]
    given = ["--file", tmp_path / "table.tsv", "--label_column", "label"]
    done = textvae("neighbours", models["labels"], *given, "--corpus", tmp_path / "table.tsv", "--format", "jsonl")
    assert done.code == 0, done.err
    index = vae.index(TEXTS, label=labels)
    for line, own in zip(done.lines, vae.neighbours(TEXTS, index, label=labels), strict=True):
        assert json.loads(line)["similarities"] == pytest.approx([one.similarity for one in own], abs=1e-3)
    done = textvae("score", models["labels"], *given, "--label", LABELS[0])
    assert done.code == 2 and "leave one of them out" in done.err


def test_labels_of_both_classes_are_in_their_column(textvae, models, opened, tmp_path):
    vae = opened["labels"]
    classes = TEXTS[:9], TEXTS[9:20]
    labels = [write_labels(tmp_path / name, texts) for name, texts in zip(("one.tsv", "two.tsv"), classes, strict=True)]
    given = ["--file", tmp_path / "one.tsv", "--label_column", "label"]
    fitted = ["--positive", tmp_path / "one.tsv", "--negative", tmp_path / "two.tsv"]
    done = textvae("edit", models["labels"], "taste", *given, *fitted)
    assert done.code == 0, done.err
    vae.fit_direction("taste", *classes, label=labels[0] + labels[1])
    assert done.lines == vae.edit(classes[0], "taste", label=labels[0])
    vae.directions = None


def test_labels_of_normal_texts_are_in_their_column(textvae, models, opened, tmp_path):
    labels, vae = write_labels(tmp_path / "table.tsv", TEXTS * 3), opened["labels"]
    given = ["--file", tmp_path / "table.tsv", "--label_column", "label"]
    done = textvae("detect", models["labels"], *given, "--normal", tmp_path / "table.tsv")
    vae.fit_detector(TEXTS * 3, label=labels)
    found = vae.detect(TEXTS * 3, label=labels)
    vae.detector = None
    assert [line.split("\t")[0] for line in done.lines] == [f"{one.p_value:.4f}" for one in found]

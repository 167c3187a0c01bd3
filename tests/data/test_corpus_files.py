import gzip
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from textvae.data.corpora import load_corpus, load_texts
from textvae.data.corpus_files import content_digest, find_files, find_splits, listed
from textvae.errors import InputError


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A directory of text files, from which relative names are read."""
    for name in ("a.txt", "below/b.TXT", "below/[odd]*.csv", ".hidden/no.txt", "_SUCCESS.txt", "README.md"):
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name).write_text(f"text\n{name}\n")
    with gzip.open(tmp_path / "corpus" / "below" / "c.jsonl.gz", "wt") as file:
        file.write('{"text": "c"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


BELOW = ["corpus/below/[odd]*.csv", "corpus/below/b.TXT", "corpus/below/c.jsonl.gz"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("corpus/a.txt", ["corpus/a.txt"]),
        (Path("corpus/a.txt"), ["corpus/a.txt"]),
        ("corpus/below/[odd]*.csv", BELOW[:1]),
        ("corpus", ["corpus/a.txt", *BELOW]),
        (["corpus/below", "corpus/a.txt", "corpus/*.txt"], [*BELOW, "corpus/_SUCCESS.txt", "corpus/a.txt"]),
        ("corpus/**/*.jsonl*", BELOW[2:]),
    ],
)
def test_files_are_found_by_name_pattern_and_directory(corpus, names, found):
    assert sorted(map(str, find_files(names))) == sorted(found)


def test_the_home_directory_and_every_file_once(corpus, tmp_path):
    assert find_files("~/corpus/a.txt") == [tmp_path / "corpus" / "a.txt"]
    assert find_files(["corpus/a.txt", "corpus/below/b.TXT", "corpus/a.txt"])[1:] == [Path("corpus/below/b.TXT")]


def test_names_that_fit_no_file(corpus, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_text("{}")
    DatasetDict(a=Dataset.from_dict({"text": ["a"]})).save_to_disk(tmp_path / "saved")
    capfd.readouterr()
    for names, told in [
        ("none.txt", "no file none.txt: check the path."),
        ("corpus/a.text", r"no file corpus/a.text: did you mean corpus/a.txt\?"),
        ("model", "model holds a model"),
        ("corpus/*.zip", "No file fits the pattern"),
        ("empty", "empty holds no file that ends in"),
        ("corpus/README.md", "unknown ending"),
        (["corpus/a.txt", "x.parquet.gz"], "no file x.parquet.gz"),
        ("saved", "splits a of a dataset"),
        ([], "list of files is empty"),
    ]:
        with pytest.raises(InputError, match=told):
            load_texts(names)
    assert capfd.readouterr() == ("", "")


def test_many_files_are_one_corpus_in_their_order(corpus):
    assert load_texts(["corpus/below/c.jsonl.gz", "corpus/a.txt"])["text"][:] == ["c", "text", "a.txt"]


def test_splits_are_told_by_the_names_of_files_and_folders(tmp_path):
    for name in ("train-1.csv", "data/train/2.csv", "dev.csv", "test.csv", "more.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text\n")
    found = {split: [path.name for path in files] for split, files in (find_splits(tmp_path) or {}).items()}
    assert found == {"train": ["2.csv", "train-1.csv"], "validation": ["dev.csv"], "test": ["test.csv"]}
    for name in ("train-1.csv", "data/train/2.csv"):
        (tmp_path / name).unlink()
    assert [path.name for path in (find_splits(tmp_path) or {})["train"]] == ["more.csv"]
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: default\n---\nA dataset.\n")
    assert find_splits(tmp_path) is None, "`datasets` reads what describes itself"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_directory_is_read_alike_as_train_file_and_as_dataset_name(tmp_path, streaming):
    (tmp_path / "train.csv").write_text("text,n\nNA,01\nnull,2\n007,3\n")
    (tmp_path / "validation.csv").write_text("n,text\n1,nan\n")
    for names in ({"train_file": str(tmp_path)}, {"dataset_name": str(tmp_path)}):
        corpus = load_corpus(**names, streaming=streaming)
        assert [row["text"] for row in corpus["train"]] == ["NA", "null", "007"]
        assert [row["text"] for row in corpus["validation"]] == ["nan"]


def test_a_saved_dataset_dict_has_its_splits(tmp_path):
    splits = {"train": ["a", "b"], "validation": ["c"]}
    DatasetDict({name: Dataset.from_dict({"text": texts}) for name, texts in splits.items()}).save_to_disk(tmp_path)
    for names in ({"train_file": str(tmp_path)}, {"dataset_name": str(tmp_path)}):
        corpus = load_corpus(**names)
        assert {name: corpus[name]["text"][:] for name in splits} == splits
    assert load_texts(tmp_path / "validation")["text"][:] == ["c"]


def test_a_digest_depends_on_content_alone(tmp_path):
    for name, content in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(content)
    a, b, c = (tmp_path / name for name in "abc")
    assert content_digest([a]) == content_digest([b]) != content_digest([c])
    assert content_digest([a, c]) == content_digest([b, c]) != content_digest([c, a])


def test_a_long_list_has_a_short_name():
    assert listed("a") == "a" and listed(["a", "b"]) == "a and b" and listed([*"abcde"]) == "a and 4 other files"

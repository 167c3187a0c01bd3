import os

import pytest

from textvae.data.corpora import load_corpus, load_texts
from textvae.errors import InputError


@pytest.mark.parametrize("content", ["text\nnew\n", "text\na new one\n"])
def test_a_file_that_was_replaced_is_read_anew(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_text("text\nold\n")
    stamp = path.stat()
    assert load_texts(path)["text"][:] == ["old"]
    path.write_text(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert load_texts(path)["text"][:] == content.split("\n")[1:2]


def test_what_was_said_of_a_file_is_said_again_when_it_comes_from_the_cache(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("id;text\n1;a\n2; \n")
    for _ in range(2):
        caplog.clear()
        first = load_texts(tmp_path / "a.csv")
        assert "semicolons" in caplog.text and "1 blank texts were dropped" in caplog.text
    assert first.cache_files, "memory-mapped, so that what is computed from it is cached too"
    assert first._fingerprint == load_texts(tmp_path / "a.csv")._fingerprint


def test_a_small_file_is_read_without_a_word(tmp_path, capfd, caplog):
    (tmp_path / "a.txt").write_text("a\nb\n")
    load_texts(tmp_path / "a.txt")
    assert capfd.readouterr() == ("", "") and not caplog.text


@pytest.mark.parametrize("streaming", [False, True])
def test_empty_parts_of_a_corpus_do_not_matter_and_an_empty_corpus_does(tmp_path, capfd, streaming):
    parts = {"1.txt": "", "2.csv": "text\n", "3.jsonl": "\n", "4.txt": "a\nb\n"}
    for name, content in parts.items():
        (tmp_path / name).write_text(content)
    corpus = load_corpus(tmp_path, streaming=streaming)
    assert sorted(row["text"] for split in corpus.values() for row in split) == ["a", "b"]
    capfd.readouterr()
    (tmp_path / "4.txt").unlink()
    for names in (tmp_path, *(tmp_path / name for name in [*parts][:3])):
        with pytest.raises(InputError, match="holds no text|is empty"):
            load_corpus(names, streaming=streaming)
    assert capfd.readouterr() == ("", "")


def test_a_stream_says_what_is_wrong_with_any_of_its_files_before_it_starts(tmp_path):
    (tmp_path / "1.csv").write_text("text\na\nb\n")
    (tmp_path / "2.csv").write_text("body\nc\n")
    with pytest.raises(InputError, match="2.csv has no column 'text'"):
        load_corpus(tmp_path, streaming=True)


def test_a_bad_line_far_down_a_stream_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 3_000 + '{"text": ["b"]}\n')
    stream = load_corpus(tmp_path / "a.jsonl", streaming=True)["train"]
    with pytest.raises(InputError, match="a.jsonl, line 3001: the column 'text' holds a list"):
        sum(1 for _ in stream)

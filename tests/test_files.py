"""Files and directories that are whole or not there, wherever the process is killed."""

import os
import shutil
from pathlib import Path

import pytest
from tiny_runs import Killed, contents, full_disk

from textvae.errors import InputError
from textvae.files import (
    check_directory,
    check_place,
    finish_directory,
    has_directory,
    remove_directory,
    restore_directory,
    unfinished,
    whole_files,
    write_whole,
)


def make(directory: Path, content: str) -> None:
    directory.mkdir()
    (directory / "file").write_text(content)


def tree(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_a_file_is_written_and_replaced(tmp_path):
    for content in ("Où ?\n", "日本"):
        write_whole(tmp_path / "file", content)
        assert (tmp_path / "file").read_text(encoding="utf-8") == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("before", [{}, {"file": "old"}])
def test_a_file_whose_writing_is_cut_is_what_it_was(tmp_path, monkeypatch, before):
    for name, content in before.items():
        (tmp_path / name).write_text(content)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", killed)
        write_whole(tmp_path / "file", "new")
    assert {name: content for name, content in tree(tmp_path).items() if name == "file"} == before
    write_whole(tmp_path / "file", "new")
    assert tree(tmp_path) == {"file": "new"}, "and no leftover"


def test_a_directory_is_finished_and_replaced(tmp_path):
    place = tmp_path / "best"
    for content in ("first", "second"):
        make(unfinished(place), content)
        finish_directory(place)
        assert tree(tmp_path) == {"best/file": content} and has_directory(place)
        restore_directory(place)
        assert tree(tmp_path) == {"best/file": content}, "there is nothing to undo"


def kill_a_replacement(place: Path, rename: int, monkeypatch) -> None:
    """Replace the old directory by the new one, and die instead of this rename, counted from 1."""
    make(place, "old")
    make(unfinished(place), "new")
    replace, seen = os.replace, []

    def killed(source, target):
        seen.append(source)
        if len(seen) == rename:
            raise Killed
        return replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", killed)
        finish_directory(place)


def test_a_replacement_cut_between_its_renames_is_undone(tmp_path, monkeypatch):
    place = tmp_path / "best"
    kill_a_replacement(place, 2, monkeypatch)
    assert not place.exists() and has_directory(place)
    restore_directory(place)
    assert tree(place) == {"file": "old"} and tree(unfinished(place)) == {"file": "new"}
    finish_directory(place)
    assert tree(tmp_path) == {"best/file": "new"}


def test_a_replacement_cut_before_its_renames_needs_no_undoing(tmp_path, monkeypatch):
    place = tmp_path / "best"
    kill_a_replacement(place, 1, monkeypatch)
    restore_directory(place)
    assert tree(place) == {"file": "old"} and has_directory(place)


def test_where_there_never_was_one_there_is_none(tmp_path):
    restore_directory(tmp_path / "best")
    assert not has_directory(tmp_path / "best") and not list(tmp_path.iterdir())


def test_an_output_needs_a_place_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.json").write_text("old")
    for path in (tmp_path / "scores.json", Path("scores.json"), tmp_path / "old.json"):
        check_place(path)
    assert tree(tmp_path) == {"old.json": "old"}
    for path in ("no/where.json", "old.json/new.json", ".", "/dev/null", "/proc/scores.json", "n" * 300):
        with pytest.raises(InputError, match="another --output"):
            check_place(Path(path))


def test_files_replace_those_of_the_same_names_and_patterns(tmp_path):
    for name in ("config", "weights-1", "weights-2", "mine"):
        (tmp_path / name).write_text("old")
    make(tmp_path / "inner", "old")
    make(tmp_path / "weights-old", "old")
    with whole_files(tmp_path, instead_of=["weights-*"]) as place:
        for name in ("config", "weights-2"):
            (place / name).write_text("new")
        make(place / "inner", "new")
        assert tree(tmp_path)["config"] == "old"
    assert tree(tmp_path) == {"config": "new", "weights-2": "new", "inner/file": "new", "mine": "old"}


@pytest.mark.parametrize("before", [{}, {"file": b"old"}])
def test_a_directory_whose_writing_fails_is_what_it_was(tmp_path, before):
    place = tmp_path / "new" / "model"
    if before:
        place.parent.mkdir()
        make(place, "old")
    with pytest.raises(OSError, match="File too large"), full_disk(1000), whole_files(place) as inside:
        (inside / "small").write_text("fits")
        (inside / "file").write_bytes(b"x" * 2000)
    assert place.exists() == bool(before) and contents(tmp_path) == {f"new/model/{n}": c for n, c in before.items()}


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(InputError, match="file is a file: give another directory"):
            check_directory(path)
        with pytest.raises(InputError, match="file is a file"), whole_files(path):
            pass
    check_directory(tmp_path / "new" / "model")
    assert tree(tmp_path) == {"file": "mine"}


def test_a_directory_that_is_removed_halfway_has_no_name_of_its_own(tmp_path, monkeypatch):
    best = tmp_path / "best"
    best.mkdir()
    (best / "model").write_text("weights")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # killed before anything of it is deleted
        remove_directory(best)
    assert not best.exists() and [path.name for path in tmp_path.iterdir()] == [".best.removed"]
    best.mkdir()
    remove_directory(best)
    assert not list(tmp_path.iterdir())
    remove_directory(best)  # there is none

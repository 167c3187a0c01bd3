"""The command line: what is not a bug is one sentence and exit code 2."""

import errno
import sys
from pathlib import Path

import pytest

from textvae.cli.main import run
from textvae.errors import InputError


def fail(error: Exception):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "told"),
    [
        (fail(InputError("size is 0: give more.")), "size is 0: give more."),
        (lambda: Path("/dev/full").write_text("x"), "No space left on device"),
        (
            lambda: Path("nowhere/file").read_text(),
            "nowhere/file cannot be read or written (No such file or directory)",
        ),
        (fail(OSError(errno.EROFS, "Read-only file system", "/cache")), "/cache cannot be read or written (Read-only"),
        (fail(ConnectionError("The Hub is down.\nTry again.\nOr not.")), "The Hub is down. Try again: check"),
    ],
)
def test_what_is_not_a_bug_is_one_sentence_and_exit_code_2(main, told, capsys):
    with pytest.raises(SystemExit) as done:
        run(main)
    (sentence,) = capsys.readouterr().err.splitlines()
    assert done.value.code == 2
    assert sentence.startswith("error: ") and told in sentence and sentence.endswith(".")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


def test_a_reader_of_the_output_may_go(tmp_path, monkeypatch):
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as done:
            run(fail(BrokenPipeError()))
        print("nobody reads this", flush=True)
    assert done.value.code == 141 and (tmp_path / "out").read_text() == ""

"""Files and directories that are written whole or, where the disk is full or the process is killed, not at all.

Each is written under another name beside its place, and renamed when it is complete. What libraries write then follows
the umask, as what Python writes does.
"""

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO

from textvae.errors import InputError

_BLOCK = 2**22  # bytes that are read at a time
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")
_TORCH_ERROR = re.compile(r"PytorchStreamWriter failed|iostream error")


def unfinished(path: Path) -> Path:
    """Where `path` is written until it is complete."""
    return path.with_name(f".{path.name}.unfinished")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A context that gives the name to write to; at its end the file becomes `path`."""
    try:
        yield unfinished(path)
        os.replace(unfinished(path), path)
    finally:
        unfinished(path).unlink(missing_ok=True)


def write_whole(path: Path, content: str) -> None:
    """Write a text file."""
    with whole_file(path) as place:
        place.write_text(content, encoding="utf-8")


@contextmanager
def whole_files(directory: str | Path, instead_of: Sequence[str] = ()) -> Iterator[Path]:
    """A context that gives an empty directory to write to; at its end all that it holds moves to `directory`.

    There it replaces what has the same name, or a name that matches one of the patterns `instead_of`. If the writing
    fails, `directory` is as it was.

    Raises:
        InputError: if `directory` is a file.
        OSError: if it cannot be written.
    """
    directory = Path(directory)
    check_directory(directory)
    new = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    place = directory / ".unfinished"
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        with os_errors(directory):
            yield place
        follow_umask(place)
        _move(place, directory, instead_of)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        for one in new:  # the deepest first
            if any(one.iterdir()):
                break
            one.rmdir()


def check_new_files(directory: Path) -> None:
    """Raises InputError or OSError if no files can be written to this directory; nothing is left there."""
    with whole_files(directory):
        pass


def _move(place: Path, directory: Path, instead_of: Sequence[str]) -> None:
    new = {path.name for path in place.iterdir()}
    old = {path for pattern in instead_of for path in directory.glob(pattern) if path.name not in new}
    for path in sorted(place.iterdir()):
        if (target := directory / path.name).is_dir() and not target.is_symlink():
            remove_directory(target)
        os.replace(path, target)
    for path in old:
        remove_directory(path) if path.is_dir() else path.unlink()


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Raise what libraries raise if they cannot read or write `path` as an OSError with this path."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError):
            number = error.errno if error.filename is None else None
        elif found := _RUST_ERROR.search(str(error)):
            number = int(found[1])
        else:
            number = errno.EIO if _TORCH_ERROR.search(str(error)) else None
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def follow_umask(directory: Path) -> None:
    """Give every file under a directory the permissions of a new file; safetensors gives them to the owner alone."""
    probe = directory / ".permissions"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in directory.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def finish_directory(path: Path) -> None:
    """The unfinished directory becomes `path`; if there was one, either the old or the new one always exists."""
    follow_umask(unfinished(path))
    old = _old(path)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(unfinished(path), path)
    shutil.rmtree(old, ignore_errors=True)


def restore_directory(path: Path) -> None:
    """Undo a replacement that was cut between its two renames."""
    if _old(path).exists() and not path.exists():
        os.replace(_old(path), path)


def has_directory(path: Path) -> bool:
    """Whether there is such a directory, perhaps one to restore."""
    return path.exists() or _old(path).exists()


def remove_directory(path: Path) -> None:
    """Remove a directory; where the process is killed meanwhile, what is left of it has a hidden name."""
    if path.exists():
        removed = path.with_name(f".{path.name}.removed")
        shutil.rmtree(removed, ignore_errors=True)
        os.replace(path, removed)
        shutil.rmtree(removed, ignore_errors=True)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def no_file(path: Path) -> InputError:
    """The error of a path that is to be read and is no file, with the nearest name beside it."""
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, beside, 1)
    if path.exists():
        return InputError(f"{path} is no regular file: give one, or its content on standard input.")
    advice = f"did you mean {path.parent / near[0]}?" if near else "check the path."
    return InputError(f"There is no file {path}: {advice}")


def check_place(path: Path) -> None:
    """Raises InputError if this --output cannot be written; nothing is left there."""
    try:
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path} is in no directory that exists: make it, or give another --output.")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is {'a directory' if path.is_dir() else 'no file'}: give another --output.")
        with unfinished(path).open("ab"):
            pass
        unfinished(path).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): give another --output.") from error


def check_directory(path: Path) -> None:
    """Raises InputError if this cannot become a directory, since it or a directory above it is a file."""
    above = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not above.is_dir():
        raise InputError(f"{above} is a file: give another directory.")


def checksum(path: Path) -> int:
    """The CRC-32 of a file."""
    with path.open("rb") as file:
        return crc32(file)


def crc32(file: BinaryIO, value: int = 0) -> int:
    """The CRC-32 of the rest of an open file, continued from `value`."""
    for block in blocks(file):
        value = zlib.crc32(block, value)
    return value


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file, part by part, however large it is."""
    return iter(lambda: file.read(_BLOCK), b"")


def read_json(path: Path) -> dict | None:
    """The JSON object in a file; None if it holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def damaged_json(directory: Path) -> str | None:
    """The name of the first JSON file of a model that holds no JSON object, or None."""
    found = sorted(directory.glob("*.json")) if directory.is_dir() else []
    return next((path.name for path in found if read_json(path) is None), None)


def brief(error: Exception) -> str:
    """The first two lines of an error, for the middle of a sentence."""
    lines = " ".join(str(error).strip().split("\n")[:2]) or type(error).__name__
    return shorten(lines, 180, placeholder=" …").rstrip(".")

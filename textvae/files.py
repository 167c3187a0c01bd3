"""Files and directories that are written whole or, where the process is killed meanwhile, not at all.

Each is written under another name beside its place, and renamed when it is complete.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textvae.errors import InputError


def unfinished(path: Path) -> Path:
    """Where `path` is written until it is complete."""
    return path.with_name(f".{path.name}.unfinished")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A context that gives the name to write to; at its end the file becomes `path`."""
    yield unfinished(path)
    os.replace(unfinished(path), path)


def write_whole(path: Path, content: str) -> None:
    """Write a text file."""
    with whole_file(path) as place:
        place.write_text(content, encoding="utf-8")


def finish_directory(path: Path) -> None:
    """The unfinished directory becomes `path`; if there was one, either the old or the new one always exists."""
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


def check_place(path: Path) -> None:
    """Raises InputError if this --output cannot be written, as it is a directory or in none that exists."""
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path} is in no directory that exists: make it, or give another --output.")
    if path.is_dir():
        raise InputError(f"{path} is a directory: give another --output.")

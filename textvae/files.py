"""Files and directories that are written whole or not at all."""

from pathlib import Path

from textvae.errors import InputError


def check_place(path: Path) -> None:
    """Raises InputError if there is no directory to write this --output to."""
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path} is in no directory that exists: make it, or give another --output.")


def write_whole(path: Path, content: str) -> None:
    """Write a text file whole or, where the process is killed meanwhile, not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(path)

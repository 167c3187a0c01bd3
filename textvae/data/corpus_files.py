"""The files of a corpus: found by names, patterns and directories, and told apart by content."""

import glob
import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from textvae.data.readers import FORMATS, SAVED_DATASET, format_of
from textvae.errors import InputError
from textvae.files import blocks, no_file

logger = logging.getLogger(__name__)

Files = str | Path | Sequence[str | Path]

SAVED_SPLITS = "dataset_dict.json"  # a file that `DatasetDict.save_to_disk` writes, beside a directory for each split
# How `datasets` tells splits apart: by one of these words in the name of a file or of its folder.
_SPLIT_WORDS = {
    "train": "train|training",
    "validation": "validation|valid|dev|val",
    "test": "test|testing|eval|evaluation",
}


def find_files(names: Files) -> list[Path]:
    """The files of these names, in their order; each file once.

    Args:
        names: one or several files, directories, or patterns such as `corpus/**/*.txt.gz`. Of a directory those files
            are taken, in it and below it, whose ending is known, in alphabetical order. A directory that
            `Dataset.save_to_disk` wrote counts as one file. `~` is the home directory.

    Raises:
        InputError: for a name that fits no file, and a file of unknown format.
    """
    names = [names] if isinstance(names, str | Path) else names
    if not names:
        raise InputError("The list of files is empty: name one.")
    found = [path for name in names for path in _named(Path(name).expanduser())]
    for path in found:
        if not is_saved(path) and format_of(path) is None:
            endings = ", ".join(FORMATS)
            raise InputError(f"{path} has an unknown ending: give one of {endings}; .gz, .bz2, .xz or .zst may follow.")
    return list(dict.fromkeys(found))


def find_splits(directory: Path) -> dict[str, list[Path]] | None:
    """The files of each split of a directory, and a line in the log if there is more than training.

    Files whose name says no split are of `train`, unless the names of others say `train`. None if there are no files of
    known endings, or the directory describes itself to `datasets`.
    """
    if (directory / SAVED_SPLITS).exists():
        return {path.name: [path] for path in sorted(directory.iterdir()) if is_saved(path)}
    if is_saved(directory):
        return {"train": [directory]}
    files = _files_below(directory)
    if not files or _describes_itself(directory):
        return None
    splits = {name: [file for file in files if _is_of(file.relative_to(directory), name)] for name in _SPLIT_WORDS}
    named = set().union(*splits.values())
    rest = [file for file in files if file not in named]
    if not splits["train"]:
        splits["train"], rest = rest, []
    if len(files) > len(splits["train"]):
        counts = ", ".join(f"{name} {len(found)}" for name, found in [*splits.items(), ("none", rest)] if found)
        logger.warning("%s: the names of its files say which split each is of (%s)", directory, counts)
    return {name: found for name, found in splits.items() if found}


def is_saved(path: Path) -> bool:
    """Whether this is a directory that `Dataset.save_to_disk` wrote."""
    return (path / SAVED_DATASET).is_file()


def listed(names: Files | None) -> str:
    """Names for an error message, however many they are."""
    if names is None or isinstance(names, str | Path):
        return str(names)
    names = [str(name) for name in names]
    return " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} other files"


def content_digest(files: Sequence[Path]) -> str:
    """A digest of the bytes of the files: of one file its SHA-256, of several that of theirs."""
    files = [part for path in files for part in (sorted(path.iterdir()) if path.is_dir() else [path])]
    digests = [_sha256(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in blocks(file):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
    return digest.hexdigest()


def _named(path: Path) -> list[Path]:
    if path.is_file() or is_saved(path):
        return [path]
    if path.is_dir():
        return _of_directory(path)
    if not glob.has_magic(str(path)):
        raise no_file(path)
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    files = [match for match in matches if match.is_file() or is_saved(match)]
    if not files:
        raise InputError(f"No file fits the pattern {path}: check it.")
    return files


def _of_directory(directory: Path) -> list[Path]:
    if (directory / "config.json").is_file() and any(directory.glob("*.safetensors")):
        raise InputError(f"{directory} holds a model: name files of texts.")
    if (directory / SAVED_SPLITS).exists():
        splits = ", ".join(find_splits(directory) or {})
        raise InputError(f"{directory} holds the splits {splits} of a dataset: name the folder of one of them.")
    files = _files_below(directory)
    if not files:
        raise InputError(f"The directory {directory} holds no file that ends in {', '.join(FORMATS)}: check the path.")
    return files


def _files_below(directory: Path) -> list[Path]:
    """What can be read in a directory and below it; what has a hidden name or folder is left out."""
    paths = (path for path in sorted(directory.rglob("*")) if is_saved(path) or _is_readable(path))
    return [
        path for path in paths if not any(part.startswith((".", "_")) for part in path.relative_to(directory).parts)
    ]


def _is_readable(path: Path) -> bool:
    return path.is_file() and format_of(path) is not None and not is_saved(path.parent)


def _is_of(path: Path, split: str) -> bool:
    edge = r"(?:^|$|[-._ /0-9])"
    return re.search(f"{edge}(?:{_SPLIT_WORDS[split]}){edge}", path.as_posix().lower()) is not None


def _describes_itself(directory: Path) -> bool:
    """Whether the head of README.md names configurations, as for a dataset of the Hub."""
    card = directory / "README.md"
    head = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2) if card.is_file() else []
    try:
        return len(head) > 2 and "configs" in (yaml.safe_load(head[1]) or {})
    except yaml.YAMLError:
        return False

"""The base model: frozen weights that are not saved with the model but found again and verified when it is opened."""

import hashlib
from pathlib import Path

from textvae.errors import InputError
from textvae.files import blocks
from textvae.modeling.pretrained import named_errors
from textvae.modeling.weight_files import weight_files

_WAY_OUT = "put it back, or write its new place into `base` of config.json"


def fingerprint(name: str) -> str:
    """The SHA-256 of the weight files, which does not depend on the dtype they are opened in."""
    digest = hashlib.sha256()
    for path in weight_files(name):
        with open(path, "rb") as file:
            for block in blocks(file):
                digest.update(block)
    return digest.hexdigest()


def new_base(name: str, part: str) -> dict:
    """Where a part (`encoder` or `decoder`) comes from: its absolute path or Hub name, and the SHA-256 of the files."""
    with named_errors(name, part, "give a directory that holds weights, or the name of a model on the Hub"):
        place = str(Path(name).resolve()) if Path(name).is_dir() else name
        return {"name_or_path": place, "sha256": fingerprint(name)}


def check_base(base: dict, part: str, model: str) -> None:
    """Raises InputError if the base model of a `part` is missing or is not the one that `model` was trained on."""
    name = base["name_or_path"]
    with named_errors(name, f"{part} that {model!r} was trained on", _WAY_OUT):
        found = fingerprint(name)
    if found != base["sha256"]:
        raise InputError(f"{name!r} is not the {part} that {model!r} was trained on, its weights differ: {_WAY_OUT}.")


def check_apart(bases: dict[str, dict] | None, directory: str | Path) -> None:
    """Raises InputError if saving a model to `directory` would overwrite one of its base models, or hide it."""
    for base in (bases or {}).values():
        name = base["name_or_path"]
        if Path(name).resolve() == Path(directory).resolve():
            # A base model in a directory is noted by its absolute path.
            what = "holds a base model" if Path(name).is_absolute() else f"would hide {name!r} of the Hub, a base model"
            raise InputError(f"{directory} {what} that this model needs: save it to another directory.")

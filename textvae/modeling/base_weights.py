"""The base of a model: the weights it was trained on top of, which are found again and checked instead of saved."""

import hashlib
from pathlib import Path

from textvae.errors import InputError
from textvae.modeling.compat import hub_file, shard_files
from textvae.modeling.pretrained import named_errors

_WAY_OUT = "put it back, or write into `base` of config.json where it is now"


def weight_files(name: str) -> list[str]:
    """The files with the weights of a directory or a model on the Hub; safetensors where there are any.

    Raises:
        OSError: if there are none.
    """
    for file in ("model.safetensors", "pytorch_model.bin"):
        if whole := hub_file(name, file):
            return [whole]
        if index := hub_file(name, f"{file}.index.json"):
            return shard_files(name, index)
    raise OSError(f"{name} holds no weights")


def fingerprint(name: str) -> str:
    """SHA-256 of these files, whatever they are opened as."""
    digest = hashlib.sha256()
    for path in weight_files(name):
        with open(path, "rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    return digest.hexdigest()


def new_base(name: str, part: str) -> dict:
    """Where the `part` of a model comes from, to be found from anywhere on this machine."""
    with named_errors(name, part, "give a directory that holds weights, or the name of a model on the Hub"):
        place = str(Path(name).resolve()) if Path(name).is_dir() else name
        return {"name_or_path": place, "sha256": fingerprint(name)}


def check_base(base: dict, part: str, model: str) -> None:
    """Raises InputError if the base of a `part` of `model` is not there, or is not the one that it was trained on."""
    name = base["name_or_path"]
    with named_errors(name, f"{part} that {model!r} was trained on", _WAY_OUT):
        found = fingerprint(name)
    if found != base["sha256"]:
        raise InputError(
            f"{name!r} is not the {part} that {model!r} was trained on, its weights are others: {_WAY_OUT}."
        )


def check_apart(bases: dict[str, dict] | None, directory: str | Path) -> None:
    """Raises InputError if a model would be written over one that it is on top of."""
    for base in (bases or {}).values():
        if Path(base["name_or_path"]).resolve() == Path(directory).resolve():
            raise InputError(f"{directory} holds weights that this model needs: write it to another directory.")

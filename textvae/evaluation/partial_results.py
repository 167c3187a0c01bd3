"""Partial results in a JSON-lines file, from which an interrupted evaluation resumes.

The first line is a header with everything that the results depend on.
"""

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textvae.errors import InputError
from textvae.modeling.old_names import before


def read_values(path: Path, header: dict) -> dict[int, list[float]]:
    """The values in the file, by index of the text; a missing file is created with its header.

    An incomplete last line is dropped, and the file is truncated accordingly.

    Raises:
        InputError: if the file has another header, is damaged, or cannot be read or written.
    """
    try:
        return _read(path, json.dumps(header).encode() + b"\n")
    except OSError as error:
        raise InputError(f"Partial results cannot be saved in {path} ({error.strerror}): give another path.") from error


def _read(path: Path, first_line: bytes) -> dict[int, list[float]]:
    content = path.read_bytes() if path.exists() else b""
    if first_line.startswith(content):
        path.write_bytes(first_line)
        return {}
    if not content.startswith(first_line):
        raise InputError(
            f"{path} belongs to another evaluation (another model, texts, seed or number of samples): delete it, or "
            "give another path."
        )
    whole = content[: content.rindex(b"\n") + 1]
    try:
        entries = [entry for line in whole.splitlines()[1:] for entry in json.loads(line)]
        values = {int(index): [float(first), *map(float, rest)] for index, (first, *rest) in entries}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: delete it, or give another path.") from error
    os.truncate(path, len(whole))
    return values


def append_values(path: Path, values: dict[int, list[float]]) -> None:
    """Append a line with the latest values."""
    with path.open("ab") as file:
        file.write(json.dumps(list(values.items())).encode() + b"\n")


def fingerprint_of_model(config: str, weights: dict[str, Tensor]) -> str:
    """The SHA-256 of a config and of the names, dtypes, shapes and bytes of a state dictionary.

    The names are those of older versions, whose partial results stay usable.
    """
    digest = sha256(config.encode())
    for name, tensor in weights.items():
        digest.update(f"{before(name)} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint_of_texts(texts: Iterable[Sequence[int]]) -> str:
    """The SHA-256 of the token ids of all texts."""
    digest = sha256()
    for ids in texts:
        digest.update(np.array([len(ids), *ids]).tobytes())
    return digest.hexdigest()

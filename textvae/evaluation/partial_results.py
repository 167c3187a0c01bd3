"""Values of texts in a file that an interrupted evaluation goes on with: JSON lines, what they depend on first."""

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textvae.errors import InputError


def read_values(path: Path, header: dict) -> dict[int, float]:
    """The values in the file by the index of their text; a file that is missing is begun, with none.

    What was cut in the middle of a line is lost, and the file mended.

    Raises:
        InputError: if the file has another header, or cannot be read and written.
    """
    try:
        return _read(path, json.dumps(header).encode() + b"\n")
    except OSError as error:
        raise InputError(
            f"The values found cannot be kept in {path} ({error.strerror}): give another place."
        ) from error


def _read(path: Path, first_line: bytes) -> dict[int, float]:
    content = path.read_bytes() if path.exists() else b""
    if first_line.startswith(content):
        path.write_bytes(first_line)
        return {}
    if not content.startswith(first_line):
        raise InputError(
            f"{path} is of another evaluation (another model, texts, seed or number of samples): delete it, or give "
            "another place."
        )
    whole = content[: content.rindex(b"\n") + 1]
    os.truncate(path, len(whole))
    return dict(pair for line in whole.splitlines()[1:] for pair in json.loads(line))


def append_values(path: Path, values: dict[int, float]) -> None:
    """One more line, of the values found last."""
    with path.open("ab") as file:
        file.write(json.dumps(list(values.items())).encode() + b"\n")


def fingerprint_of_model(config: str, weights: dict[str, Tensor]) -> str:
    """Of a config and of the names, types and bytes of a state dictionary."""
    digest = sha256(config.encode())
    for name, tensor in weights.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def fingerprint_of_texts(texts: Iterable[Sequence[int]]) -> str:
    """Of the token ids of each text."""
    digest = sha256()
    for ids in texts:
        digest.update(np.array([len(ids), *ids]).tobytes())
    return digest.hexdigest()

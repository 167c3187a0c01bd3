"""Weight files in safetensors: those of a model, and the checksum in each, as damaged weights would write other texts.

The checksum is in the metadata of the file, so it goes wherever the file goes. Whatever saves other weights without it,
such as older versions of textvae, leaves a file that opens unchecked.
"""

import json
import zlib
from pathlib import Path
from typing import BinaryIO

from textvae.errors import InputError
from textvae.files import blocks, crc32, whole_file
from textvae.modeling.compat import hub_file, shard_files

_METADATA, _CHECKSUM = "__metadata__", "crc32"  # of the header of a safetensors file


def weight_files(name: str, variant: str | None = None, **where) -> list[str]:
    """The weight files of a directory or of a model on the Hub; safetensors files if there are any.

    Args:
        variant, where: of a model on the Hub, as `from_pretrained` takes them: `revision`, `cache_dir`, …

    Raises:
        OSError: if there are no weights.
    """
    ending = "" if variant is None else f".{variant}"
    for stem, kind in (("model", "safetensors"), ("pytorch_model", "bin")):
        if whole := hub_file(name, f"{stem}{ending}.{kind}", **where):
            return [whole]
        if index := hub_file(name, f"{stem}.{kind}.index{ending}.json", **where):
            return shard_files(name, index, **where)
    raise OSError(f"{name} holds no weights")


def weight_patterns(variant: str | None = None) -> list[str]:
    """The names of the safetensors files that a model may have been saved in, whole or in shards."""
    ending = "" if variant is None else f".{variant}"
    return [f"model{ending}.safetensors", f"model{ending}-*.safetensors", f"model.safetensors.index{ending}.json"]


def add_checksums(directory: Path) -> None:
    """Write the CRC-32 of its tensors into each safetensors file of a directory."""
    for path in sorted(directory.glob("*.safetensors")):
        add_checksum(path)


def add_checksum(path: Path) -> None:
    """Write the CRC-32 of its tensors into a safetensors file."""
    with path.open("rb") as file, whole_file(path) as place, place.open("wb") as copy:
        header = _read_header(file)
        start = file.tell()
        metadata = header.get(_METADATA, {}) | {_CHECKSUM: _checksum(header, file)}
        content = json.dumps(header | {_METADATA: metadata}, separators=(",", ":")).encode()
        content += b" " * (-len(content) % 8)  # tensors are aligned
        copy.write(len(content).to_bytes(8, "little") + content)
        file.seek(start)
        for block in blocks(file):
            copy.write(block)


def check_checksums(name: str, files: list[str]) -> None:
    """Raises InputError if a weight file of the model `name` is not what was saved."""
    for path in files:
        if path.endswith(".safetensors"):
            with open(path, "rb") as file:
                header = _read_header(file)
                wanted = header.get(_METADATA, {}).get(_CHECKSUM)
                if wanted is not None and wanted != _checksum(header, file):
                    raise InputError(
                        f"The weights of {name!r} are corrupt ({Path(path).name} is not what was saved): copy or save "
                        "them again."
                    )


def _read_header(file: BinaryIO) -> dict:
    return json.loads(file.read(int.from_bytes(file.read(8), "little")))


def _checksum(header: dict, file: BinaryIO) -> str:
    """The CRC-32 of what the header says of the tensors, and of the rest of the file."""
    tensors = {name: entry for name, entry in header.items() if name != _METADATA}
    return f"{crc32(file, zlib.crc32(json.dumps(tensors, sort_keys=True).encode())):08x}"

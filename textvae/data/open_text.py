"""Text files, compressed or not, as lines: in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow

from textvae.errors import InputError

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
BROKEN_FILE = (OSError, EOFError, zlib.error, lzma.LZMAError)  # what reading a broken or missing file raises
# The mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file, each with its end: a line feed, a carriage return or both.

    Raises:
        InputError: when iterated, if the file cannot be opened or decompressed, or is not text in these encodings; the
            message names the line.
    """
    try:
        with _open_bytes(path) as file:
            yield from lines_in(file, str(path))
    except BROKEN_FILE as error:
        raise unreadable(path, error) from error


def lines_in(file: io.BufferedReader, name: str) -> Iterator[str]:
    """The lines of a file that is open, such as standard input; its `name` is for messages, see `lines_of`."""
    number = 0
    try:
        start = file.peek(1 << 12)
        encoding = next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), "utf-8-sig")
        if encoding == "utf-8-sig" and b"\0" in start:
            raise InputError(f"{name} is binary: give text in UTF-8.")
        with io.TextIOWrapper(file, encoding, newline="") as text:
            for line in text:
                number += 1
                yield line
    except UnicodeDecodeError as error:
        # All lines before the block that cannot be decoded were given away.
        number += 1 + error.object[: error.start].decode(error.encoding, "replace").count("\n")
        encoding = "UTF-8" if error.encoding.startswith("utf-8") else error.encoding.upper()
        raise InputError(
            f"{name}, line {number} is not {encoding}: convert it to UTF-8, for instance with iconv."
        ) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """The error for a file that is broken, missing or forbidden."""
    reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
    return InputError(f"{path} could not be read: correct the file ({reason}).")


def _open_bytes(path: Path) -> io.BufferedReader:
    match path.suffix.lower():
        case ".gz":
            return io.BufferedReader(gzip.open(path))
        case ".bz2":
            return io.BufferedReader(bz2.open(path))
        case ".xz":
            return io.BufferedReader(lzma.open(path))
        case ".zst":
            return io.BufferedReader(pyarrow.CompressedInputStream(str(path), "zstd"))
    return path.open("rb")

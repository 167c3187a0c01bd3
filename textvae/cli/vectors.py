"""Files of vectors, row by row: .npy, .safetensors and Parquet, written and read in parts; or numbers in lines.

N rows · Z numbers in each
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from textvae.cli.texts import STANDARD_INPUT, read_lines
from textvae.errors import InputError
from textvae.files import no_file

NAME, STD = "latents", "std"  # of the tensor and of the columns
WITH_STD = (".parquet", "jsonl", "tsv")  # where there is room for both
_READ = 1_024  # rows that are read at a time
_HEADER = 256  # bytes before the numbers of a .safetensors file

Write = Callable[[list[dict[str, Any]]], None]


def write_npy(place: Path):
    """Write rows to a .npy file of float32, (N, Z)."""

    def header(rows: int, width: int) -> bytes:
        file = io.BytesIO()
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, shape)  # padded by numpy, so that any number of rows fits
        return file.getvalue()

    return _numbers(place, header)


def write_safetensors(place: Path):
    """Write rows to a .safetensors file with one tensor of float32, `latents` (N, Z)."""

    def header(rows: int, width: int) -> bytes:
        tensor = {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, 4 * rows * width]}
        written = json.dumps({NAME: tensor}).encode().ljust(_HEADER - 8)
        return len(written).to_bytes(8, "little") + written

    return _numbers(place, header)


@contextmanager
def _numbers(place: Path, header: Callable[[int, int], bytes]) -> Iterator[Write]:
    """Numbers behind a header of fixed length, which is written again when their count is known."""
    rows = width = 0
    with place.open("wb") as file:

        def write(results: list[dict[str, Any]]) -> None:
            nonlocal rows, width
            if not rows:
                width = len(results[0][NAME])
                file.write(header(0, width))
            rows += len(results)
            file.write(np.array([result[NAME] for result in results], "<f4").tobytes())

        yield write
        file.seek(0)
        file.write(header(rows, width))


@contextmanager
def write_parquet(place: Path) -> Iterator[Write]:
    """Write rows to a Parquet file with the columns `text`, `latents` and perhaps `std`, a row group for each part."""
    import pyarrow
    import pyarrow.parquet

    vector, file = pyarrow.list_(pyarrow.float32()), None
    with ExitStack() as closed_at_the_end:

        def write(results: list[dict[str, Any]]) -> None:
            nonlocal file
            vectors = ((name, vector) for name in (NAME, STD) if name in results[0])
            schema = pyarrow.schema([("text", pyarrow.string()), *vectors])
            file = file or closed_at_the_end.enter_context(pyarrow.parquet.ParquetWriter(place, schema))
            file.write_table(pyarrow.Table.from_pylist(results, schema))

        yield write


WRITERS = {".npy": write_npy, ".safetensors": write_safetensors, ".parquet": write_parquet}


def read_vectors(files: Sequence[str] | None) -> Iterator[np.ndarray]:
    """The vectors (Z,) of these files, or of standard input, where a line is the numbers of one.

    Raises:
        InputError: for a file of another format, without vectors, or damaged, and for what are no finite numbers.
    """
    if files:
        paths = list(map(Path, files))
        parts = [_reader(path)(path) for path in paths]
        rows = chain.from_iterable(_checked(path, part) for path, part in zip(paths, parts, strict=True))
    else:
        rows = map(_numbers_in, read_lines())
        rows = _checked(STANDARD_INPUT, rows)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{' and '.join(files or [STANDARD_INPUT])} holds no vectors: give what encode writes.")
    return chain([first], rows)


def _checked(source: object, rows: Iterator[Any]) -> Iterator[np.ndarray]:
    width = None
    for number, values in enumerate(rows, 1):
        try:
            row = np.asarray(values, np.float32)
        except (TypeError, ValueError):
            row = np.array([np.nan])
        if row.ndim != 1 or not np.isfinite(row).all():
            raise InputError(f"{source}, row {number} is no vector of finite numbers: give what encode writes.")
        width = width or len(row)
        if len(row) != width:
            raise InputError(f"{source}, row {number} has {len(row)} numbers, and the first {width}: correct it.")
        yield row


def _numbers_in(line: str) -> list[str]:
    return line.replace(",", " ").strip("[] \t").split()


def _reader(path: Path) -> Callable[[Path], Iterator[Any]]:
    readers = {".npy": _npy_rows, ".safetensors": _safetensors_rows, ".parquet": _parquet_rows}
    if not path.is_file():
        raise no_file(path)
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} has an unknown ending: give vectors in {', '.join(readers)}.")
    return readers[path.suffix.lower()]


def _npy_rows(path: Path) -> Iterator[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _damaged(path) from error
    _check_shape(path, array.shape)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds an array of {array.dtype}, it must be of numbers: give what encode writes.")
    yield from array


def _check_shape(path: Path, shape: Sequence[int]) -> None:
    if len(shape) != 2:
        raise InputError(f"{path} holds an array {tuple(shape)}, it must be (N, Z): give what encode writes.")


def _safetensors_rows(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:  # numpy has no bfloat16
            if NAME not in file.keys():
                raise InputError(f"{path} holds no tensor {NAME!r}: give what encode writes.")
            rows = file.get_slice(NAME)
            _check_shape(path, rows.get_shape())
            for start in range(0, count := rows.get_shape()[0], _READ):
                yield from rows[start : min(count, start + _READ)].float().numpy()
    except SafetensorError as error:
        raise _damaged(path) from error


def _parquet_rows(path: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if NAME not in file.schema_arrow.names:
                raise InputError(f"{path} has no column {NAME!r}: give what encode writes.")
            for batch in file.iter_batches(_READ, columns=[NAME]):
                yield from batch.column(NAME).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is damaged, or no {path.suffix} file: write it again.")

"""Corpus files as a dataset: memory-mapped Arrow, written once for each content, or a stream."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pyarrow
from datasets import Dataset, IterableDataset, config
from tqdm.auto import tqdm

from textvae.data.columns import Columns, gaps_of
from textvae.data.corpus_files import content_digest, listed
from textvae.data.readers import read_rows
from textvae.data.text_columns import has_words, say_once
from textvae.errors import InputError

logger = logging.getLogger(__name__)

_VERSION = 1  # of the readers: a file that older ones have read is read again
_BATCH_ROWS = 1_000
_BAR_DELAY = 5  # seconds of reading before there is a bar
_MOST_NOTES = 10  # on a corpus of many files
_TEXTS, _NOTES = "texts.arrow", "notes.json"


def load_files(files: Sequence[Path], columns: Columns, streaming: bool = False) -> Dataset | IterableDataset:
    """The rows of the files, one file after the other, with the columns `text` and, if asked for, `target` and `label`.

    Rows with a blank value are dropped, and their number is logged unless `streaming`. Otherwise the rows are written
    to the cache of `datasets`, under a name that depends on the content of the files.

    Raises:
        InputError: for what `read_rows` refuses, and files without a text. A stream is checked at the first row of
            each file; what is wrong further on is raised when it is read there.
    """
    return _stream(files, columns) if streaming else _memory_mapped(files, columns)


def _stream(files: Sequence[Path], columns: Columns) -> IterableDataset:
    firsts = [next(read_rows(path, columns, say_once), None) for path in files]
    # Tuples, as `datasets` would take lists for shards.
    arguments = {"files": tuple(map(str, files)), "columns": tuple(columns.items())}
    # No features, with which `datasets` would take five times as long for a row.
    stream = IterableDataset.from_generator(_streamed_rows, gen_kwargs=arguments)
    if not any(firsts) or next(iter(stream), None) is None:
        raise _without_text(files)
    return stream


def _streamed_rows(files: Sequence[str], columns: Sequence[tuple[str, str]]) -> Iterator[dict]:
    names = [what for what, _ in columns]
    for path in files:
        for row in read_rows(Path(path), dict(columns), say_once):
            if all(map(has_words, row)):
                yield dict(zip(names, row, strict=True))


def _memory_mapped(files: Sequence[Path], columns: Columns) -> Dataset:
    key = json.dumps([_VERSION, content_digest(files), [str(path) for path in files], columns])
    place = Path(config.HF_DATASETS_CACHE) / "textvae" / hashlib.sha256(key.encode()).hexdigest()
    if not (place / _TEXTS).exists():
        _write_cache(place, files, columns)
    for sentence in json.loads((place / _NOTES).read_text(encoding="utf-8")):
        logger.warning(sentence)
    return Dataset.from_file(str(place / _TEXTS))


def _write_cache(place: Path, files: Sequence[Path], columns: Columns) -> None:
    """Write rows and notes to a directory of another name, and rename it: other processes may write the same."""
    notes: dict[str, None] = {}
    unfinished = place.with_name(f".{uuid4().hex}")
    try:
        unfinished.mkdir(parents=True)
        dropped, kept = _write_rows(unfinished / _TEXTS, files, columns, notes.setdefault)
        if not kept:
            raise _without_text(files)
        sentences = [*notes][:_MOST_NOTES]
        if more := len(notes) - len(sentences):
            sentences.append(f"{listed(files)}: {more} more remarks of these kinds")
        if dropped:
            sentences.append(f"{listed(files)}: {dropped} {gaps_of(columns)} were dropped")
        (unfinished / _NOTES).write_text(json.dumps(sentences), encoding="utf-8")
        if not place.exists():
            os.rename(unfinished, place)
    except OSError as error:
        if not (place / _TEXTS).exists():
            raise InputError(
                f"The cache {place.parent} cannot be written to ({error.strerror}): set HF_DATASETS_CACHE to another "
                "directory."
            ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_rows(place: Path, files: Sequence[Path], columns: Columns, note: Callable[[str], object]) -> tuple[int, int]:
    """Write an Arrow file; the numbers of rows that were dropped and kept."""
    schema = pyarrow.schema([(what, pyarrow.string()) for what in columns])
    rows = (row for path in files for row in read_rows(path, columns, note))
    is_silent = not logger.isEnabledFor(logging.WARNING)  # as all processes but the main one are
    bar = tqdm(rows, desc="Reading", unit=" texts", unit_scale=True, delay=_BAR_DELAY, disable=is_silent)
    texts = iter(bar)
    dropped = kept = 0
    with pyarrow.OSFile(str(place), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        while batch := list(islice(texts, _BATCH_ROWS)):
            whole = [row for row in batch if all(map(has_words, row))]
            kept, dropped = kept + len(whole), dropped + len(batch) - len(whole)
            if whole:
                arrays = [pyarrow.array(values, pyarrow.string()) for values in zip(*whole, strict=True)]
                writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
    return dropped, kept


def _without_text(files: Sequence[Path]) -> InputError:
    if len(files) == 1 and files[0].is_file() and not files[0].stat().st_size:
        return InputError(f"{files[0]} is empty: give a file that holds texts.")
    return InputError(f"{listed(files)} holds no text: give one with words in it.")

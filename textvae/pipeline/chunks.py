"""Chunks: a verb reads some texts at a time, so that its memory does not grow with their number.

N texts
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from textvae.data.inference_batches import InferenceBatches
from textvae.errors import InputError
from textvae.pipeline.codec import Codec
from textvae.pipeline.inputs import Label, Texts, as_list, iter_labels

BATCHES = 16  # in a chunk but the first: texts of a chunk are sorted by length, so that less is padded

T = TypeVar("T")
Results = TypeVar("Results", bound=Sequence[Any] | Tensor)  # one for each text


def in_parts(items: Iterable[T], batch_size: int) -> Iterator[list[T]]:
    """Lists of items: one batch, so that the first results come soon, then several batches at a time."""
    items, size = iter(items), batch_size
    while part := list(islice(items, size)):
        yield part
        size = BATCHES * batch_size


def with_labels(parts: Iterable[list[T]], label: Label) -> Iterator[tuple[list[T], Label]]:
    """Each part, and its labels: one for all, or the next ones of many.

    Raises:
        InputError: if a list has more labels than there are items, or no labels but names of columns.
    """
    is_one = isinstance(label, str | int | np.integer) or not isinstance(label, Iterable)
    labels, number = None if is_one else iter_labels(label), 0
    for part in parts:
        number += len(part)
        yield part, label if labels is None else list(islice(labels, len(part)))
    if labels is not None and labels is not label and next(labels, None) is not None:
        raise InputError(f"There are more labels than the {number} texts: give one for each.")


def joined(parts: list[Sequence[Any]]) -> list:
    """The results of all parts in one list."""
    return list(chain.from_iterable(parts))


def in_chunks(
    codec: Codec,
    texts: Texts,
    label: Label,
    verb: Callable[[InferenceBatches], Sequence[Any] | Tensor],
    join: Callable[[list], Any] = joined,
) -> Any:
    """The results of a verb for some texts, chunk by chunk; the number of texts that were cut is logged at the end.

    Args:
        verb: gives a result for each text.
        join: puts the results of all chunks together.

    Returns: one result for one string; for a list what `join` makes; for an iterator an iterator, which reads no more
        texts than it needs.

    Raises:
        InputError: if a text or label cannot be used; for an iterator when it gets there.
    """
    if isinstance(texts, Iterator):
        return chain.from_iterable(_results(codec, streamed(codec, texts, label), verb))
    items, single = as_list(texts)
    found = join(list(each_chunk(codec, items, label, verb)))
    return found[0] if single else found


def each_chunk(
    codec: Codec, texts: Sequence[str], label: Label, verb: Callable[[InferenceBatches], Results]
) -> Iterator[Results]:
    """The results of a verb for each chunk of these texts; of no texts for one chunk, too, which gives their kind."""
    return _results(codec, _listed(codec, texts, label), verb)


Chunk = tuple[list[str], list[int] | None]  # texts and label ids


def streamed(codec: Codec, texts: Iterator[str], label: Label) -> Iterator[Chunk]:
    """Chunks of an iterator, which is read no further than they need.

    Raises:
        InputError: if a text or label cannot be used, when it is reached.
    """
    read = 0
    for some, own in with_labels(in_parts(texts, codec.batch_size), label):
        yield as_list(some, read)[0], codec.label_ids(own, len(some))
        read += len(some)


def _listed(codec: Codec, texts: Sequence[str], label: Label) -> Iterator[Chunk]:
    ids = codec.label_ids(label, len(texts))
    parts = list(in_parts(range(len(texts)), codec.batch_size)) or [[]]
    for rows in tqdm(parts, desc="chunks", leave=False, disable=not codec.progress or len(parts) <= 2):
        own = slice(rows[0], rows[-1] + 1) if rows else slice(0)
        yield list(texts[own]), ids and ids[own]


def _results(codec: Codec, chunks: Iterable[Chunk], verb: Callable[[InferenceBatches], Results]) -> Iterator[Results]:
    cut = number = 0
    try:
        for texts, ids in chunks:
            read, own = codec.tokens(texts, ids)
            cut, number = cut + own, number + len(texts)
            yield verb(read)
    finally:
        codec.say_cut(cut, number)

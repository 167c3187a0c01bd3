"""A walk: the texts on the way from one text to another."""

from itertools import groupby
from typing import cast

from textvae.config_fields import flag
from textvae.errors import InputError
from textvae.latents.paths import check_path, interpolate
from textvae.pipeline.codec import Codec, Written
from textvae.pipeline.inputs import Label, Texts, as_list


def walk(
    codec: Codec, start: Texts, end: Texts, num_steps: int, path: str, label: Label, dedupe: bool = False
) -> Written:
    """`num_steps` texts from `start` to `end`, or a list of them for each of several pairs.

    Args:
        dedupe: leave out each text that is the same as the one before it.

    Raises:
        InputError: if `num_steps` is below 2, the path is unknown, or there are not as many starts as ends.
    """
    num_steps, dedupe = check_path(num_steps, path), flag("dedupe", dedupe)
    (starts, single), (ends, single_end) = as_list(start), as_list(end)
    if len(starts) != len(ends) or single != single_end:
        raise InputError("start and end must be two texts, or two lists of the same length.")
    ids = codec.label_ids(label, len(starts))
    means = codec.means(codec.tokenize(starts + ends, ids and ids + ids))
    ways = interpolate(means[: len(starts)], means[len(starts) :], num_steps, path)  # (N, num_steps, Z)
    written = cast("list[list[str]]", codec.write_each(ways, ids))
    if dedupe:
        written = [[text for text, _ in groupby(way)] for way in written]
    return written[0] if single else written

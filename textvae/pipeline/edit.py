"""Edits: texts written from z that are moved: along a direction, by the difference of two texts, along one axis.

N texts · Z latent_size
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from textvae.config_fields import FINITE, POSITIVE, Range, number, whole
from textvae.data.inference_batches import InferenceBatches
from textvae.errors import InputError, shown
from textvae.latents.axes import principal_axes
from textvae.latents.directions import Directions
from textvae.latents.paths import check_path
from textvae.latents.priors import GaussianPrior
from textvae.pipeline.chunks import in_chunks
from textvae.pipeline.codec import Codec, Written
from textvae.pipeline.directions import check_directions, latent_space
from textvae.pipeline.inputs import Label, Texts, as_list, has_norm

AXES = ("dimensions", "principal")


def edit(
    codec: Codec, directions: Directions | None, texts: Texts, name: str, strength: float, label: Label
) -> Written | Iterator[Any]:
    """Each text, written from its posterior mean + strength · step.

    Raises:
        InputError: if there is no such direction, or the strength makes a z too large.
    """
    check_directions(directions, codec.model)
    step = (directions or Directions(latent_space(codec.model))).step(name)
    strength = number("strength", strength, FINITE)

    def edited(read: InferenceBatches) -> list:
        moved = _usable(codec.means(read) + strength * step, "strength", strength)
        return codec.write(moved, read.label_ids, read.lengths)

    return in_chunks(codec, texts, label, edited)


def analogy(codec: Codec, a: Texts, b: Texts, c: Texts, label: Label) -> Written:
    """What is to c as b is to a: z(c) + (z(b) − z(a)), written.

    Raises:
        InputError: if they are no three texts, and no three lists of the same length.
    """
    lists, singles = zip(*map(as_list, (a, b, c)), strict=True)
    if len({*map(len, lists)}) > 1 or len({*singles}) > 1:
        raise InputError("a, b and c must be three texts, or three lists of the same length.")
    ids = codec.label_ids(label, len(lists[0]))
    # Each list by itself: where a and b are the same texts, their z are the same bit for bit.
    reads = [codec.tokenize(texts, ids) for texts in lists]
    first, second, third = map(codec.means, reads)
    written = codec.write(third + (second - first), ids, reads[2].lengths)
    return written[0] if singles[0] else written


def traverse(
    codec: Codec,
    prior: GaussianPrior | None,
    texts: Texts,
    dimension: int,
    num_steps: int,
    reach: float,
    axes: str,
    label: Label,
) -> Written | Iterator[Any]:
    """`num_steps` texts of each text, with its posterior mean moved along one axis from −reach to +reach.

    Raises:
        InputError: if there is no such dimension, a number is out of its range, or there is no prior and it is needed.
    """
    codec.check_has_z("has no dimension to move along.")
    latent_size = codec.model.config.latent_size
    dimension = whole("dimension", dimension, Range(f"from 0 to {latent_size - 1}", lambda d: 0 <= d < latent_size))
    num_steps, reach = check_path(num_steps, "linear"), number("reach", reach, POSITIVE)
    all_axes = _axes(axes, prior, latent_size, len(codec.model.config.label_names))
    middle = (num_steps - 1) / 2  # exactly 0 there, so that the text in the middle is the reconstruction
    steps = (torch.arange(num_steps) - middle) / middle * reach

    def traversed(read: InferenceBatches) -> list:
        means = codec.means(read)
        own = all_axes[[0] * len(means) if read.label_ids is None else read.label_ids, dimension]  # (N, Z)
        ways = _usable(means.unsqueeze(1) + steps[:, None] * own.unsqueeze(1), "reach", reach)  # (N, num_steps, Z)
        return codec.write_each(ways, read.label_ids)

    return in_chunks(codec, texts, label, traversed)


def _axes(name: str, prior: GaussianPrior | None, latent_size: int, num_labels: int) -> Tensor:
    """The axes of this name for each label, of which there is one for a model without: (C, Z, Z)."""
    if name not in AXES:
        raise InputError(f"axes must be 'dimensions' or 'principal', not {shown(name)}.")
    if name == "dimensions":
        return torch.eye(latent_size).expand(max(1, num_labels), -1, -1)
    if prior is None:
        raise InputError("Principal axes are those of the fitted prior: fit one with TextVAEPipeline.fit_prior.")
    return principal_axes(prior)


def _usable(latents: Tensor, name: str, value: float) -> Tensor:
    """The same z (…, Z); raises InputError if this argument made one too large to compute with."""
    if not has_norm(latents).all():
        raise InputError(f"{name} is {value:g}, which makes z far too large: give a smaller one.")
    return latents

"""Codes: z of texts, and the texts of z.

N texts or z · M texts of each z · Z latent_size
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from textvae.data.inference_batches import InferenceBatches
from textvae.errors import InputError
from textvae.pipeline.chunks import in_chunks, in_parts, with_labels
from textvae.pipeline.codec import Codec
from textvae.pipeline.inputs import Label, Latents, Texts, as_latents
from textvae.pipeline.score import log_likelihoods

Scored = tuple[str, float]
ScoredWritten = Scored | list[Scored] | list[list[Scored]]


def encode(codec: Codec, texts: Texts, label: Label, sample: bool, return_std: bool) -> Any:
    """z of each text, the mean of q(z|x) or a draw of it, and perhaps the standard deviations of q(z|x)."""

    def codes(read: InferenceBatches) -> Tensor:
        """(N, Z), or (N, 2, Z) with the standard deviations."""
        mean, stddev = codec.posteriors(read)
        latents = mean + stddev * codec.draws.noise(*mean.shape) if sample else mean
        return torch.stack([latents, stddev], dim=1) if return_std else latents

    found = in_chunks(codec, texts, label, codes, torch.cat)
    if not return_std:
        return found
    return map(tuple, found) if isinstance(found, Iterator) else found.unbind(-2)


def decode(codec: Codec, latents: Latents | Iterator, label: Label, return_scores: bool) -> Any:
    """The text of each z, or several of each, and perhaps log p(x|z) beside each text."""
    if isinstance(latents, Iterator):
        return chain.from_iterable(_decoded_parts(codec, latents, label, return_scores))
    rows, single = as_latents(latents, codec.model.config.latent_size)
    found = _decoded(codec, rows, label, return_scores)
    return found[0] if single else found


def _decoded(codec: Codec, rows: Tensor, label: Label, return_scores: bool) -> list:
    ids = codec.label_ids(label, len(rows))
    written = codec.write(rows, ids)
    return with_log_likelihoods(codec, written, rows, ids) if return_scores else written


def _decoded_parts(codec: Codec, latents: Iterator, label: Label, return_scores: bool) -> Iterator[list]:
    number = 0
    for part, own in with_labels(in_parts(latents, codec.batch_size), label):
        rows, single = as_latents(part, codec.model.config.latent_size, number)
        if single:
            raise InputError("The iterator gives numbers, and should give z, one by one: give a list of it.")
        number += len(rows)
        yield _decoded(codec, rows, own, return_scores)


def with_log_likelihoods(
    codec: Codec, written: list[str] | list[list[str]], latents: Tensor, ids: list[int] | None
) -> list[Scored] | list[list[Scored]]:
    """(text, log p(x|z)) in place of each text of each z (N, Z)."""
    several = [[text] if isinstance(text, str) else text for text in written]
    scores = log_likelihoods(codec, several, latents, ids)
    found = [list(zip(texts, own.tolist(), strict=True)) for texts, own in zip(several, scores, strict=True)]
    return [own[0] for own in found] if several != written else found

"""Codes: z of texts, and the texts of z.

N texts or z · M texts of each z · Z latent_size
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from textvae.data.inference_batches import InferenceBatches
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
        parts = with_labels(in_parts(latents, codec.batch_size), label)
        return chain.from_iterable(decode(codec, rows, own, return_scores) for rows, own in parts)
    rows, single = as_latents(latents, codec.model.config.latent_size)
    ids = codec.label_ids(label, len(rows))
    written = codec.write(rows, ids)
    found = with_log_likelihoods(codec, written, rows, ids) if return_scores else written
    return found[0] if single else found


def with_log_likelihoods(
    codec: Codec, written: list[str] | list[list[str]], latents: Tensor, ids: list[int] | None
) -> list[Scored] | list[list[Scored]]:
    """(text, log p(x|z)) in place of each text of each z (N, Z)."""
    several = [[text] if isinstance(text, str) else text for text in written]
    scores = log_likelihoods(codec, several, latents, ids)
    found = [list(zip(texts, own.tolist(), strict=True)) for texts, own in zip(several, scores, strict=True)]
    return [own[0] for own in found] if several != written else found

"""Codes: z of texts, and the texts of z.

N texts or z · M texts of each z · Z latent_size
"""

from torch import Tensor

from textvae.pipeline.codec import Codec, Written
from textvae.pipeline.inputs import Label, Latents, Texts, as_latents
from textvae.pipeline.score import log_likelihoods

Scored = tuple[str, float]
ScoredWritten = Scored | list[Scored] | list[list[Scored]]


def encode(codec: Codec, texts: Texts, label: Label, sample: bool, return_std: bool) -> Tensor | tuple[Tensor, Tensor]:
    """z of each text, the mean of q(z|x) or a draw of it, and perhaps the standard deviations of q(z|x)."""
    read, single = codec.read(texts, label)
    latents, stddev = codec.posteriors(read)
    if sample:
        latents = latents + stddev * codec.draws.noise(*latents.shape)
    latents, stddev = (latents[0], stddev[0]) if single else (latents, stddev)
    return (latents, stddev) if return_std else latents


def decode(codec: Codec, latents: Latents, label: Label, return_scores: bool) -> Written | ScoredWritten:
    """The text of each z, or several of each, and perhaps log p(x|z) beside each text."""
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

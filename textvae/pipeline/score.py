"""Scores of texts: bounds on −log p(x), all from the same noise, and the terms that they are made of.

N texts · B batch · T tokens of a text · Z latent_size · K samples
"""

import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textvae.data.inference_batches import InferenceBatches
from textvae.evaluation.likelihood import importance_weighted_nll
from textvae.objectives.terms import normal_kl
from textvae.pipeline.chunks import in_chunks
from textvae.pipeline.codec import Codec
from textvae.pipeline.inputs import Label, Texts


class TextTerms(NamedTuple):
    """What a model says of one text, in nats.

    Args:
        negative_elbo: −ELBO, `reconstruction` + `kl`.
        reconstruction: −log p(x|z) of one z drawn from q(z|x), the first of the K draws.
        kl: KL(q(z|x) ‖ p(z)), summed over dimensions.
        reconstruction_from_mean: −log p(x|z) of the mean of q(z|x), summed over tokens.
        bound: the importance-weighted bound on −log p(x) from K draws (Burda et al. 2016, eq. 8).
        num_tokens: predicted tokens; EOS is counted.
        tokens: each of them as it is written, and its part of `reconstruction_from_mean`; None if not asked for.
    """

    negative_elbo: float
    reconstruction: float
    kl: float
    reconstruction_from_mean: float
    bound: float
    num_tokens: int
    tokens: list[tuple[str, float]] | None = None


def score(
    codec: Codec, texts: Texts, label: Label, num_samples: int, return_terms: bool, return_tokens: bool
) -> list[float] | float | list[TextTerms] | TextTerms | Iterator[Any]:
    """The importance-weighted bound of each text from K samples in nats, or all its terms."""
    noise = noise_of_all(codec, num_samples)
    if return_terms:
        return in_chunks(codec, texts, label, lambda read: terms(codec, read, noise, return_tokens))
    return in_chunks(codec, texts, label, lambda read: bounds(codec, read, noise))


def terms(codec: Codec, read: InferenceBatches, noise: Tensor, return_tokens: bool) -> list[TextTerms]:
    """The bound of each text, as `bounds` gives it, and the other terms; its first draw is that of −ELBO."""
    mean, stddev = codec.posteriors(read)
    nll = token_nll(codec, read, mean)
    columns = {
        "reconstruction": sums(token_nll(codec, read, mean + stddev * noise[0])),
        "kl": kl_of_texts(codec, read, mean, stddev).tolist(),
        "reconstruction_from_mean": sums(nll),
        "bound": bounds(codec, read, noise),
        "num_tokens": list(map(len, nll)),
        "tokens": with_tokens(read, nll) if return_tokens else [None] * len(nll),
    }
    elbos = map(operator.add, columns["reconstruction"], columns["kl"])
    return list(map(TextTerms, elbos, *columns.values()))


def noise_of_all(codec: Codec, num_samples: int) -> Tensor:
    """The noise that all texts share: (K, 1, Z)."""
    return codec.draws.noise(num_samples, 1, codec.model.config.latent_size)


def bounds(codec: Codec, read: InferenceBatches, noise: Tensor) -> list[float]:
    """The importance-weighted bound of each text with this noise (K, 1, Z), in nats."""

    @torch.no_grad()
    def nll(indices: Sequence[int]) -> list[float]:
        rows = iter(noise.expand(-1, len(indices), -1))

        def draw(k: int) -> Tensor:
            return torch.stack([next(rows) for _ in range(k)])

        batch = read.batch(indices)
        return importance_weighted_nll(codec.model, batch, len(noise), draw, codec.batch_size).tolist()

    return codec.in_batches(nll, read.lengths, "scoring")


def kl_of_texts(codec: Codec, read: InferenceBatches, mean: Tensor, stddev: Tensor) -> Tensor:
    """KL(q(z|x) ‖ p(z)) of each text in nats, (N,), from its posterior (N, Z)."""
    return kl_of_dimensions(codec, read, mean, stddev).sum(-1)


def kl_of_dimensions(codec: Codec, read: InferenceBatches, mean: Tensor, stddev: Tensor) -> Tensor:
    """The same of each dimension: (N, Z)."""
    prior_mean, prior_stddev = codec.prior(read.label_ids)
    return normal_kl(mean, 2 * stddev.log(), prior_mean, 2 * prior_stddev.log())


def token_nll(codec: Codec, read: InferenceBatches, latents: Tensor) -> list[Tensor]:
    """−log p of each token of each text in nats, given its z (N, Z): N times (T,), on the CPU."""

    @torch.no_grad()
    def nll(indices: Sequence[int]) -> list[Tensor]:
        batch, own = read.batch(indices), latents[list(indices)].to(codec.model.device)
        rows = codec.model.token_nll(own, batch["labels"], label_ids=batch.get("label_ids")).cpu()  # (B, T)
        return [row[: len(read.target_ids[i])] for i, row in zip(indices, rows, strict=True)]

    return codec.in_batches(nll, read.lengths, "decoding")


def log_likelihoods(codec: Codec, written: list[list[str]], latents: Tensor, ids: list[int] | None) -> list[Tensor]:
    """log p(x|z) in nats of each text that was written for each z (N, Z), as `token_nll` reads it: N times (M,).

    A text is tokenized and cut as `score` does, though it may have been written in other tokens, or without an end.
    """
    read, owners = codec.read_back(written, ids)
    likelihoods = -torch.tensor(sums(token_nll(codec, read, latents[owners])))
    return list(likelihoods.split([*map(len, written)]))


def sums(nll: list[Tensor]) -> list[float]:
    """The nats of each text."""
    return [float(one.sum()) for one in nll]


def with_tokens(read: InferenceBatches, nll: list[Tensor]) -> list[list[tuple[str, float]]]:
    """The predicted tokens of each text, as the decoder's tokenizer writes each alone, and their nats."""
    tokenizer = read.tokenizers.decoder
    known = sorted({token for ids in read.target_ids for token in ids})
    written = dict(zip(known, tokenizer.batch_decode([[token] for token in known]), strict=True))
    tokens = ([written[token] for token in ids] for ids in read.target_ids)
    return [list(zip(own, nats.tolist(), strict=True)) for own, nats in zip(tokens, nll, strict=True)]

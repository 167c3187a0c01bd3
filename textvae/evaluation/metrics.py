"""Metrics of a text VAE: pure functions of tensors and of strings; information is in nats.

N texts · Z latent_size
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import sacrebleu
import torch
from torch import Tensor

from textvae.data.words import separate_words
from textvae.errors import InputError

STANDARD_ERROR = "_standard_error"  # appended to the name of a value
ACTIVE = 0.01  # minimum variance of an active unit's posterior mean over the texts


def standard_error(values: Tensor) -> float:
    """Standard error of the mean of `values` (N,): std / √N; infinite for a single value."""
    if len(values) < 2:
        return math.inf
    return float(values.cpu().double().std() / math.sqrt(len(values)))


def ratio_standard_error(amounts: Tensor, counts: Tensor) -> float:
    """Standard error of Σ `amounts` / Σ `counts`, both (N,), over the texts, to first order; infinite for one text."""
    amounts, counts = amounts.double(), counts.double()
    return standard_error((amounts - counts * amounts.sum() / counts.sum()) / counts.mean())


def active_units(mean: Tensor, threshold: float = ACTIVE) -> int:
    """Number of latent dimensions whose posterior mean varies with the text (Burda et al. 2016, section 5.2).

    A unit is active if the unbiased Var_x(E[z_d | x]) is at least `threshold`. For a single text the result is 0.

    Args:
        mean: (N, Z), the posterior means of the texts.
    """
    if len(mean) < 2:
        return 0
    return int((mean.cpu().double().var(0) >= threshold).sum())


def active_units_standard_error(
    mean: Tensor, threshold: float = ACTIVE, num_resamples: int = 200, seed: int = 0
) -> float:
    """Standard error of `active_units` by the bootstrap over texts (Efron 1979). Infinite for a single text.

    Args:
        mean: (N, Z), the posterior means of the texts.
        num_resamples: number of bootstrap samples of N texts (memory: num_resamples · N · 8 bytes).
    """
    if len(mean) < 2:
        return math.inf
    num_texts, mean = len(mean), mean.cpu().double()
    mean = mean - mean.mean(0)  # E[m²] - E[m]² would lose digits for a mean far from 0
    times = np.random.default_rng(seed).multinomial(num_texts, np.full(num_texts, 1 / num_texts), num_resamples)
    moments = torch.from_numpy(times / num_texts) @ torch.cat([mean, mean.square()], dim=1)  # (resamples, 2Z)
    first, second = moments.chunk(2, dim=1)
    variance = (second - first.square()) * num_texts / (num_texts - 1)
    return float((variance >= threshold).sum(1).double().std())


def mutual_information(mean: Tensor, logvar: Tensor, latents: Tensor, chunk_size: int = 512) -> float:
    """I(x; z) under q with the aggregated posterior of all N texts, in nats (Hoffman & Johnson 2016; Li et al. 2019).

    The mean of `information_terms`, at most ln N. It is a sampled estimate: if z holds no information, it scatters
    around 0. Arguments and errors are those of `information_terms`.
    """
    terms = information_terms(mean, logvar, latents, chunk_size)
    return min(float(terms.mean()), math.log(len(terms)))  # a rounded mean may exceed ln N in the last digit


def information_terms(mean: Tensor, logvar: Tensor, latents: Tensor, chunk_size: int = 512) -> Tensor:
    """log q(z_n | x_n) - log 1/N Σ_m q(z_n | x_m) of each text, with one sample z_n of its posterior, in nats.

    Args:
        mean, logvar: (N, Z), the posteriors.
        latents: (N, Z), one sample of each posterior, in the same order.
        chunk_size: number of samples compared with all posteriors at a time (memory: chunk_size · N · 8 bytes).

    Returns:
        (N,), each at most ln N.

    Raises:
        InputError: if there is no text or the shapes differ.
    """
    _check_posteriors(mean, logvar, latents)
    # Move to the CPU first: some accelerators have no float64.
    mean, logvar, latents = (tensor.cpu().double() for tensor in (mean, logvar, latents))
    ratios = [
        # Both terms come from the same matrix, so rounding cannot lift a text above ln N.
        log_densities.diagonal(start) - log_densities.logsumexp(1)
        for start, log_densities in _pairwise_log_densities(mean, logvar, latents, chunk_size)
    ]
    return torch.cat(ratios) + math.log(len(mean))


def minibatch_mutual_information(mean: Tensor, logvar: Tensor, latents: Tensor, batch_size: int = 32) -> float:
    """I(x; z) estimated within mini-batches and averaged over texts, in nats (He et al. 2019, section 3.1).

    At most ln `batch_size` (3.47 for 32): use it only to compare with papers that report it; `mutual_information`
    uses the whole set. The entropy of q(z|x) is estimated from the sample, which has the same expectation as the
    closed form and keeps the bound.

    Args:
        mean, logvar, latents: (N, Z), as for `mutual_information`; batches are taken in the order given.

    Raises:
        InputError: if there is no text, the shapes differ, or `batch_size` is below 1.
    """
    _check_posteriors(mean, logvar, latents)
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}.")
    batches = zip(*(tensor.cpu().split(batch_size) for tensor in (mean, logvar, latents)), strict=True)
    return sum(mutual_information(*batch) * len(batch[0]) for batch in batches) / len(mean)


def _pairwise_log_densities(mean: Tensor, logvar: Tensor, latents: Tensor, chunk_size: int):
    """Yield (start, log q(z_n | x_m) as (C, N)) for consecutive chunks of n, with one matrix product each."""
    precision = torch.exp(-logvar)
    # Σ (z - m)² / v = Σ z² / v - 2 z m / v + m² / v: a product of (C, 2Z) and (2Z, N), and a term of m only.
    weights = torch.cat([precision, -2 * mean * precision], dim=1).T  # (2Z, N)
    offset = (mean.square() * precision + logvar + math.log(2 * math.pi)).sum(1)  # (N,)
    for start in range(0, len(latents), chunk_size):
        chunk = latents[start : start + chunk_size]
        yield start, -0.5 * (torch.cat([chunk.square(), chunk], dim=1) @ weights + offset)


def _check_posteriors(mean: Tensor, logvar: Tensor, latents: Tensor) -> None:
    if mean.ndim != 2 or not mean.shape == logvar.shape == latents.shape:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (mean, logvar, latents))
        raise InputError(f"mean, logvar and latents must all be (N, Z), not {shapes}.")
    if len(mean) == 0:
        raise InputError("Mutual information needs at least one text, got none.")


def perplexity(total_nats: float, count: int) -> float:
    """exp(total_nats / count), where `count` is the number of predicted tokens, or of words plus one EOS per text.

    Infinite if the result is too large for a float.

    Raises:
        InputError: if `count` is below 1.
    """
    if count < 1:
        raise InputError(f"Perplexity needs at least one token or word, there are {count}: give a text.")
    try:
        return math.exp(total_nats / count)
    except OverflowError:
        return math.inf


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Share of hypotheses, 0 to 1, that equal their reference character for character.

    Raises:
        InputError: if the two differ in number or are empty.
    """
    _check_pairs(hypotheses, references)
    return sum(h == r for h, r in zip(hypotheses, references, strict=True)) / len(hypotheses)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU, 0 to 100, with one reference each, by sacrebleu's defaults (Papineni et al. 2002; Post 2018).

    In scripts without spaces, such as Chinese, each character counts as a word.

    Raises:
        InputError: if the two differ in number or are empty.
    """
    _check_pairs(hypotheses, references)
    words = [[separate_words(text) for text in texts] for texts in (hypotheses, references)]
    # `force` changes no score: it silences sacrebleu's warning about tokenized corpora such as PTB.
    return sacrebleu.corpus_bleu(words[0], [words[1]], force=True).score


def distinct_share(texts: Sequence[str]) -> float:
    """Share of distinct texts among all, above 0 and up to 1.

    Raises:
        InputError: if there is no text.
    """
    if not texts:
        raise InputError("The share of distinct texts needs at least one text, got none.")
    return len(set(texts)) / len(texts)


def distinct_bigrams(texts: Sequence[str]) -> float:
    """distinct-2: the share of distinct word bigrams among all bigrams of the texts (Li et al. 2016); 0 without any.

    It falls as texts are added: compare values of the same number of texts. In scripts without spaces, such as
    Chinese, each character counts as a word.
    """
    words = [separate_words(text).split() for text in texts]
    bigrams = [pair for one in words for pair in pairwise(one)]
    return len(set(bigrams)) / max(1, len(bigrams))


def _check_pairs(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references) or not hypotheses:
        raise InputError(
            f"Each hypothesis needs its reference: got {len(hypotheses)} hypotheses and {len(references)} references."
        )

"""The negative ELBO and its terms: pure functions of per-example tensors, in nats.

B batch · Z latent_size · K samples
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from textvae.errors import InputError

LOG_2PI = math.log(2 * math.pi)
ROWS_AT_ONCE = 512  # latents per call of the likelihood function


def normal_kl(mean: Tensor, logvar: Tensor, prior_mean: Tensor, prior_logvar: Tensor) -> Tensor:
    """KL(N(mean, diag exp logvar) || N(prior_mean, diag exp prior_logvar)) of each dimension, in nats.

    With zeros for the prior it is the KL from N(0, I) (Kingma & Welling 2014, appendix B).

    Args:
        mean, logvar, prior_mean, prior_logvar: (B, Z), or any shapes that broadcast.

    Returns:
        (B, Z); sum over the last dimension for the KL of each text.
    """
    difference = logvar - prior_logvar
    # expm1 keeps the digits that exp(difference) - 1 loses near the prior, that is, in collapsing dimensions.
    return 0.5 * ((mean - prior_mean).square() * torch.exp(-prior_logvar) + torch.expm1(difference) - difference)


def normal_log_density(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(x; mean, diag exp logvar) in nats, summed over the last dimension.

    Args:
        x, mean, logvar: (..., Z), or shapes that broadcast, such as (K, B, Z) samples and (B, Z) posteriors.

    Returns:
        (...)
    """
    return -0.5 * ((x - mean).square() * torch.exp(-logvar) + logvar + LOG_2PI).sum(-1)


def reparameterize(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """z = mean + exp(logvar / 2) · noise: a draw of N(mean, diag exp logvar) (Kingma & Welling 2014, section 2.4).

    Args:
        mean, logvar: (B, Z).
        noise: (B, Z) or (K, B, Z), standard normal.

    Returns:
        The shape of `noise`.
    """
    return mean + (logvar / 2).exp() * noise


def free_bits_kl(kl: Tensor, free_bits: float, mode: str = "batch", mean_kl: Tensor | None = None) -> Tensor:
    """The KL with free bits: averaged over texts, summed over dimensions, at least `free_bits` nats per dimension.

    - `batch`: Σ_d max(free_bits, mean_b KL_bd) (Kingma et al. 2016, IAF, eq. 15).
    - `text`: mean_b Σ_d max(free_bits, KL_bd) (Li et al. 2019; Optimus).

    The floor applies to each dimension, not to the sum. A KL at or below the floor has exactly zero gradient. With
    `free_bits` 0 both modes equal the plain mean KL, and so do their gradients.

    Args:
        kl: (B, Z), nats.
        free_bits: nats per dimension, at least 0.
        mean_kl: (Z,), the KL averaged over the texts of all processes. In mode `batch` it decides which dimensions
            are at or below the floor; values and gradients above the floor come from the local texts. Averaged over
            processes, both equal those of one process with the whole batch. Mode `text` ignores it.

    Returns:
        A scalar, nats per text.

    Raises:
        InputError: if `mode` is unknown or `free_bits` is negative.
    """
    if mode not in ("batch", "text"):
        raise InputError(f"free-bits mode must be 'batch' or 'text', not {mode!r}.")
    if not free_bits >= 0:
        raise InputError(f"free_bits must be at least 0 nats per dimension, not {free_bits}.")
    local = kl.mean(0) if mode == "batch" else kl  # (Z,) or (B, Z)
    if free_bits > 0:
        judged = mean_kl if mode == "batch" and mean_kl is not None else local
        # `<=`, not `>`, so that a NaN reaches the loss, where the training loop detects it.
        local = torch.where(judged <= free_bits, free_bits, local)
    return local.sum(-1).mean()


def negative_elbo(
    reconstruction: Tensor,
    kl: Tensor,
    beta: float = 1.0,
    free_bits: float = 0.0,
    free_bits_mode: str = "batch",
    mean_kl: Tensor | None = None,
) -> Tensor:
    """The training objective: mean(reconstruction) + beta · free_bits_kl(kl), in nats per text.

    With `beta` 1 and `free_bits` 0 it is the true negative ELBO (Kingma & Welling 2014, eq. 3), an upper bound on
    -log p(x); other values of `beta` give the objective of a β-VAE (Higgins et al. 2017, eq. 4).

    Args:
        reconstruction: (B,), -log p(x|z) summed over the tokens of each text, nats.
        kl: (B, Z), nats.
        beta: the weight of the KL at this step (see `textvae.objectives.schedules`).
        free_bits, free_bits_mode, mean_kl: see `free_bits_kl`.

    Returns:
        A scalar.

    Raises:
        InputError: if `free_bits_mode` is unknown or `free_bits` is negative.
    """
    return reconstruction.mean() + beta * free_bits_kl(kl, free_bits, free_bits_mode, mean_kl)


def logvar_of_rate(rate: float) -> float:
    """The log σ² < 0 at which KL(N(0, σ²) || N(0, 1)) is `rate` nats; a smaller σ² or another mean gives a larger KL.

    A δ-VAE (Razavi et al. 2019, section 2.1) keeps σ² below this bound, so the KL of every dimension is at least the
    committed rate. Solves σ² − 1 − log σ² = 2 · rate by Newton's method.

    Raises:
        InputError: if `rate` is not above 0.
    """
    if not 0 < rate < math.inf:
        raise InputError(f"The committed rate must be above 0 nats per dimension, not {rate}.")
    low = 2 * rate + 1  # -log σ²; the function is convex, so Newton's method converges from this upper bound
    for _ in range(100):
        low -= (math.expm1(-low) + low - 2 * rate) / -math.expm1(-low)
    return -low


def maximum_mean_discrepancy(latents: Tensor, prior: Tensor) -> Tensor:
    """The MMD² between the aggregate posterior q(z) and the prior p(z), estimated from a sample of each.

    The kernel is k(a, b) = C / (C + ‖a − b‖²) with C = 2Z (Tolstikhin et al. 2018, section 4). The estimate is
    unbiased, so it can be negative when the distributions are equal. InfoVAE (Zhao et al. 2017, eq. 6) minimises
    reconstruction + (1 − α) · KL + (α + λ − 1) · MMD: `beta` is 1 − α, and the weight of this term is α + λ − 1.

    Args:
        latents: (B, Z), one z of each text.
        prior: (B, Z), draws of p(z).

    Returns:
        A scalar; 0 for a single text, since it has no pairs.
    """
    count = len(latents)
    if count < 2:
        return latents.sum() * 0

    def within(sample: Tensor) -> Tensor:
        kernel = _inverse_multiquadratic(sample, sample)
        return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))

    return within(latents) + within(prior) - 2 * _inverse_multiquadratic(latents, prior).mean()


def similarity_difference(means: Tensor, embeddings: Tensor) -> Tensor:
    """The mean squared difference of two similarities over all pairs of texts (Tung & Mori 2019, eq. 4).

    One is cos(μ_i, μ_j). The other is cos(e_i − ē, e_j − ē) with the mean ē of these embeddings: embeddings share a
    direction, which says nothing of a text.

    Args:
        means: (B, Z), of the posteriors.
        embeddings: (B, H), of the same texts.

    Returns:
        A scalar without a unit, between 0 and 4.
    """
    normal = torch.nn.functional.normalize
    own, other = normal(means, dim=1), normal(embeddings - embeddings.mean(0), dim=1)
    return (own @ own.T - other @ other.T).square().mean()


def _inverse_multiquadratic(first: Tensor, second: Tensor) -> Tensor:
    """The kernel C / (C + ‖a − b‖²) of every pair: (B, Z), (B, Z) -> (B, B)."""
    scale = 2 * first.shape[1]
    distance = first.square().sum(1, keepdim=True) + second.square().sum(1) - 2 * first @ second.T
    return scale / (scale + distance.clamp(min=0))


LogDensity = Callable[[Tensor], Tensor]  # latents (k, B, Z) → nats (k, B)


def importance_weighted_bound(
    log_likelihood: LogDensity,
    mean: Tensor,
    logvar: Tensor,
    num_samples: int,
    draw: Callable[[int], Tensor] | None = None,
    prior: tuple[Tensor, Tensor] | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Tensor:
    """-log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) with z_k from q(z|x), in nats (Burda et al. 2016, eq. 8).

    In expectation an upper bound on -log p(x). With one sample it is the negative ELBO; it gets tighter with K, and
    it is exact for every K if q(z|x) is the true posterior. Samples are processed in chunks, so memory does not grow
    with K.

    Args:
        log_likelihood: latents (k, B, Z) → log p(x|z) (k, B).
        mean, logvar: (B, Z), of q(z|x).
        num_samples: K.
        draw: k → standard normal noise (k, B, Z); `torch.randn` by default.
        prior: mean and log-variance of p(z), both (B, Z) or (1, Z); N(0, I) by default.
        rows_at_once: the largest number of latents in a call of `log_likelihood`, but at least one per text.

    Returns:
        (B,)

    Raises:
        InputError: if `num_samples` is below 1.
    """
    log_prior = normal_prior(*(prior or (torch.zeros_like(mean[:1]), torch.zeros_like(mean[:1]))))
    return bounds_of_priors(log_likelihood, mean, logvar, num_samples, draw, [log_prior], rows_at_once)[0]


def normal_prior(mean: Tensor, logvar: Tensor) -> LogDensity:
    """The log-density of N(mean, diag(exp(logvar))), both (B, Z) or (1, Z)."""
    return lambda latents: normal_log_density(latents, mean, logvar)


def bounds_of_priors(
    log_likelihood: LogDensity,
    mean: Tensor,
    logvar: Tensor,
    num_samples: int,
    draw: Callable[[int], Tensor] | None,
    log_priors: Sequence[LogDensity],
    rows_at_once: int = ROWS_AT_ONCE,
) -> Tensor:
    """[`importance_weighted_bound`] with each of P priors, from the same samples: (P, B)."""
    if num_samples < 1:
        raise InputError(f"num_samples is {num_samples}, it must be at least 1.")
    draw = draw or (lambda k: torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device))
    at_once = max(1, rows_at_once // len(mean))
    log_sums = mean.new_full((len(log_priors), len(mean)), -math.inf)
    for start in range(0, num_samples, at_once):
        noise = draw(min(at_once, num_samples - start)).to(mean)
        latents = reparameterize(mean, logvar, noise)  # (k, B, Z)
        likelihood, posterior = log_likelihood(latents), normal_log_density(latents, mean, logvar)
        # Subtract the two densities first: they cancel exactly if q is the prior.
        weights = torch.stack([likelihood + (log_prior(latents) - posterior) for log_prior in log_priors])  # (P, k, B)
        log_sums = torch.logaddexp(log_sums, weights.logsumexp(1))
    return math.log(num_samples) - log_sums

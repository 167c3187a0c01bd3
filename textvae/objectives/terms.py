"""The negative ELBO and its terms: pure functions of per-example tensors, in nats.

B batch · Z latent_size · K samples
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from textvae.errors import InputError

LOG_2PI = math.log(2 * math.pi)
ROWS_AT_ONCE = 512  # sampled latents whose likelihood is taken together


def normal_kl(mean: Tensor, logvar: Tensor, prior_mean: Tensor, prior_logvar: Tensor) -> Tensor:
    """KL(N(mean, diag exp logvar) || N(prior_mean, diag exp prior_logvar)) of each dimension, in nats.

    Where the second is N(0, I) it is `standard_normal_kl` to the last bit.

    Args:
        mean, logvar, prior_mean, prior_logvar: (B, Z), or any shapes that broadcast.

    Returns:
        (B, Z); sum over the last dimension for the KL of each text.
    """
    difference = logvar - prior_logvar
    # expm1 keeps the digits that exp(difference) - 1 loses near the prior, where a collapsing dimension lives.
    return 0.5 * ((mean - prior_mean).square() * torch.exp(-prior_logvar) + torch.expm1(difference) - difference)


def standard_normal_kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, diag exp logvar) || N(0, I)) of each dimension, in nats (Kingma & Welling 2014, appendix B).

    Args:
        mean, logvar: (B, Z), or any two shapes that broadcast.

    Returns:
        (B, Z); sum over the last dimension for the KL of each text.
    """
    return 0.5 * (mean.square() + torch.expm1(logvar) - logvar)  # expm1: see `normal_kl`


def normal_log_density(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(x; mean, diag exp logvar) in nats, summed over the last dimension.

    Args:
        x, mean, logvar: (..., Z), broadcast against one another: (K, B, Z) samples against (B, Z) posteriors.

    Returns:
        (...)
    """
    return -0.5 * ((x - mean).square() * torch.exp(-logvar) + logvar + LOG_2PI).sum(-1)


def standard_normal_log_density(x: Tensor) -> Tensor:
    """log N(x; 0, I) in nats, summed over the last dimension: (..., Z) -> (...)."""
    return -0.5 * (x.square() + LOG_2PI).sum(-1)


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
    """KL averaged over texts and summed over dimensions, each of which has `free_bits` nats for nothing.

    - `batch`: Σ_d max(free_bits, mean_b KL_bd) (Kingma et al. 2016, IAF, eq. 15).
    - `text`: mean_b Σ_d max(free_bits, KL_bd) (Li et al. 2019; Optimus).

    The floor belongs to each dimension, never to their sum. What is at or below it gets exactly zero gradient;
    with `free_bits` 0 both modes are the plain mean KL, gradients included.

    Args:
        kl: (B, Z), nats.
        free_bits: nats per dimension, at least 0.
        mean_kl: (Z,), the KL averaged over the texts of all processes, which then decides in mode `batch` what is
            below the floor, while value and gradient above it come from the local texts: averaged over processes
            they equal those of one process with the whole batch. Mode `text` needs no such thing and ignores it.

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
        # `<=` and not `>`: a NaN stays a NaN in the loss, where the training loop finds it.
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
    -log p(x); other values of `beta` give the β-VAE's objective (Higgins et al. 2017, eq. 4).

    Args:
        reconstruction: (B,), -log p(x|z) summed over the tokens of each text, nats.
        kl: (B, Z), nats.
        beta: the weight of the KL at this step (see `textvae.schedules`).
        free_bits, free_bits_mode, mean_kl: see `free_bits_kl`.

    Returns:
        A scalar.

    Raises:
        InputError: if `free_bits_mode` is unknown or `free_bits` is negative.
    """
    return reconstruction.mean() + beta * free_bits_kl(kl, free_bits, free_bits_mode, mean_kl)


def logvar_of_rate(rate: float) -> float:
    """The log σ² < 0 at which N(0, σ²) is `rate` nats from N(0, 1); any smaller σ², and any other mean, is further.

    δ-VAE (Razavi et al. 2019, section 2.1) commits a dimension to that rate by keeping σ² below it. Solves
    σ² − 1 − log σ² = 2 · rate by Newton's method.

    Raises:
        InputError: if `rate` is not above 0.
    """
    if not 0 < rate < math.inf:
        raise InputError(f"The committed rate must be above 0 nats per dimension, not {rate}.")
    low = 2 * rate + 1  # -log σ², from above, where the curve bends towards the root
    for _ in range(100):
        low -= (math.expm1(-low) + low - 2 * rate) / -math.expm1(-low)
    return -low


def maximum_mean_discrepancy(latents: Tensor, prior: Tensor) -> Tensor:
    """MMD² between q(z) and p(z), from a sample of each: how far the codes of all texts are from the prior.

    With the kernel k(a, b) = C / (C + ‖a − b‖²), C = 2Z (Tolstikhin et al. 2018, section 4), unbiased: it may be
    below 0 for samples of the same distribution. InfoVAE (Zhao et al. 2017, eq. 6) minimises
    reconstruction + (1 − α) · KL + (α + λ − 1) · MMD: `beta` is 1 − α and the weight of this term α + λ − 1.

    Args:
        latents: (B, Z), one z of each text.
        prior: (B, Z), draws of p(z).

    Returns:
        A scalar; 0 for a single text, which has no pairs.
    """
    count = len(latents)
    if count < 2:
        return latents.sum() * 0

    def within(sample: Tensor) -> Tensor:
        kernel = _inverse_multiquadratic(sample, sample)
        return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))

    return within(latents) + within(prior) - 2 * _inverse_multiquadratic(latents, prior).mean()


def _inverse_multiquadratic(first: Tensor, second: Tensor) -> Tensor:
    """C / (C + ‖a − b‖²) of every pair: (B, Z), (B, Z) -> (B, B)."""
    scale = 2 * first.shape[1]
    distance = first.square().sum(1, keepdim=True) + second.square().sum(1) - 2 * first @ second.T
    return scale / (scale + distance.clamp(min=0))


def importance_weighted_bound(
    log_likelihood: Callable[[Tensor], Tensor],
    mean: Tensor,
    logvar: Tensor,
    num_samples: int,
    draw: Callable[[int], Tensor] | None = None,
    prior: tuple[Tensor, Tensor] | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Tensor:
    """-log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) with z_k from q(z|x), in nats (Burda et al. 2016, eq. 8).

    An upper bound on -log p(x): in expectation the negative ELBO at 1 sample, tighter as they grow, and exact at any
    number of them where q(z|x) is the true posterior. Samples are streamed: memory does not grow with them.

    Args:
        log_likelihood: latents (k, B, Z) → log p(x|z) (k, B).
        mean, logvar: (B, Z), of q(z|x).
        num_samples: K.
        draw: k → standard normal noise (k, B, Z); torch's own when not given.
        prior: mean and log-variance of p(z), both (B, Z) or (1, Z); N(0, I) when not given.
        rows_at_once: the most latents that are given to `log_likelihood`, but never fewer than one for each text.

    Returns:
        (B,)

    Raises:
        InputError: if `num_samples` is below 1.
    """
    if num_samples < 1:
        raise InputError(f"num_samples is {num_samples}, it must be at least 1.")
    draw = draw or (lambda k: torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device))
    at_once = max(1, rows_at_once // len(mean))
    log_sum = mean.new_full(mean.shape[:1], -math.inf)
    for start in range(0, num_samples, at_once):
        noise = draw(min(at_once, num_samples - start)).to(mean)
        latents = reparameterize(mean, logvar, noise)  # (k, B, Z)
        # The two densities first: where q is the prior they cancel exactly.
        log_prior = standard_normal_log_density(latents) if prior is None else normal_log_density(latents, *prior)
        log_ratio = log_prior - normal_log_density(latents, mean, logvar)
        log_sum = torch.logaddexp(log_sum, (log_likelihood(latents) + log_ratio).logsumexp(0))
    return math.log(num_samples) - log_sum

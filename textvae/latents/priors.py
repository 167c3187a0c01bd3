"""What every prior that is fitted to codes can do, and the first of them: a Gaussian.

The others are in [`textvae.latents.mixture`] and [`textvae.latents.flow`].

N texts · C labels, 1 for a model without · Z latent_size
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import MultivariateNormal

from textvae.errors import InputError

KL_DRAWS = 16  # of each posterior, where a KL has no closed form


class Prior(Protocol):
    """A density of z, perhaps another one for each label, fitted to the aggregate posterior q(z) = E_x[q(z|x)]."""

    @property
    def shape(self) -> tuple[int, int]:
        """(C, Z)."""
        ...

    def draw(self, noise: Tensor, label_ids: Sequence[int] | None = None, temperature: float = 1.0) -> Tensor:
        """A z for each row of standard normal noise (N, Z), all of them on the CPU; a row's z depends on it alone.

        Args:
            label_ids: of each z, for a model with labels.
            temperature: of the noise; below 1, z are nearer to where the density is high.
        """
        ...

    def log_density(self, latents: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """log p(z) in nats, or log p(z|c) with the labels (N,): (…, N, Z) → (…, N)."""
        ...

    def kl(self, mean: Tensor, logvar: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """KL(N(mean, diag(exp(logvar))) ‖ p(z)) of each posterior (N, Z), or from p(z|c), in nats: (N,)."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All numbers that it consists of, by name."""
        ...

    def save(self, path: Path) -> None:
        """Write it to a safetensors file, from which `load` makes it again."""
        ...


class GaussianPrior:
    """A Gaussian with full covariance, fitted to the aggregate posterior q(z) = E_x[q(z|x)]; one for each label.

    It has the mean and the covariance of q(z), so no other Gaussian is nearer to it in KL(q(z) ‖ ·). z drawn from it
    lie where those of texts lie (Ghosh et al. 2020, section 4; Hoffman & Johnson 2016).

    Attributes:
        mean: (C, Z).
        scale: (C, Z, Z), lower triangular; the covariance is scale · scaleᵀ.
    """

    def __init__(self, mean: Tensor, scale: Tensor):
        self.mean, self.scale = mean, scale

    @classmethod
    def fit(
        cls, mean: Tensor, stddev: Tensor, label_ids: Sequence[int] | None = None, num_labels: int = 1
    ) -> "GaussianPrior":
        """The Gaussian with the moments of the mixture of these posteriors: Cov(mean) + E[diag(stddev²)].

        A label without texts gets the Gaussian of all texts.

        Args:
            mean, stddev: (N, Z), of q(z|x).
            label_ids: of each text, from 0 to `num_labels` - 1; all 0 if not given.

        Raises:
            InputError: if there is no text, or a posterior is not finite.
        """
        check_posteriors(mean, stddev)
        of_labels = texts_of_labels(label_ids, len(mean), num_labels)
        moments = [_moments(mean[texts].double(), stddev[texts].double()) for texts in of_labels]
        means, covariances = map(torch.stack, zip(*moments, strict=True))
        return cls(means.float(), torch.linalg.cholesky(covariances).float())

    @property
    def shape(self) -> tuple[int, int]:
        """(C, Z)."""
        return len(self.mean), self.mean.shape[1]

    def draw(self, noise: Tensor, label_ids: Sequence[int] | None = None, temperature: float = 1.0) -> Tensor:
        """mean + temperature · scale · noise, for standard normal noise (N, Z); (N, Z).

        Args:
            label_ids: of each z, for a model with labels.
        """
        ids = [0] * len(noise) if label_ids is None else label_ids
        with torch.autocast(noise.device.type, enabled=False):  # of an evaluation in mixed precision
            return self.mean[ids] + temperature * (self.scale[ids] @ noise.unsqueeze(-1)).squeeze(-1)

    def log_density(self, latents: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """log p(z) in nats, or log p(z|c) with the labels (N,): (…, N, Z) → (…, N)."""
        density = latents.new_empty(latents.shape[:-1])
        for texts, center, scale in self._of_labels(label_ids, latents):
            one = MultivariateNormal(center, scale_tril=scale, validate_args=False)
            density[..., texts] = one.log_prob(latents[..., texts, :])
        return density

    def kl(self, mean: Tensor, logvar: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """KL(N(mean, diag(exp(logvar))) ‖ p(z)) of each posterior (N, Z), or from p(z|c), in nats: (N,)."""
        kl = mean.new_empty(len(mean))
        for texts, center, scale in self._of_labels(label_ids, mean):
            inverse = torch.linalg.solve_triangular(scale, torch.eye(len(scale)).to(scale), upper=False)  # (Z, Z)
            apart = ((mean[texts] - center) @ inverse.T).square().sum(-1)
            spread = logvar[texts].exp() @ inverse.square().sum(0)  # the trace of Σ⁻¹ diag(σ²)
            log_determinants = 2 * scale.diagonal().log().sum() - logvar[texts].sum(-1)
            kl[texts] = (apart + spread - len(scale) + log_determinants) / 2
        return kl

    def whiten(self, latents: Tensor, label_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """scale⁻¹ (z − mean), and the log of the determinant of this map: (…, N, Z) → (…, N, Z), (N,)."""
        white, log_determinant = torch.empty_like(latents), latents.new_empty(latents.shape[-2])
        for texts, center, scale in self._of_labels(label_ids, latents):
            apart = (latents[..., texts, :] - center).mT
            white[..., texts, :] = torch.linalg.solve_triangular(scale, apart, upper=False).mT
            log_determinant[texts] = -scale.diagonal().log().sum()
        return white, log_determinant

    def tensors(self) -> dict[str, Tensor]:
        """What `__init__` takes, by name."""
        return {"mean": self.mean.contiguous(), "scale": self.scale.contiguous()}

    def save(self, path: Path) -> None:
        """Write it to a safetensors file."""
        save_file(self.tensors(), path, {"prior": "gaussian"})

    @classmethod
    def load(cls, path: str | Path) -> "GaussianPrior":
        """What `save` wrote; raises InputError if the file holds anything else."""
        try:
            tensors = load_file(path)
            mean, scale = tensors["mean"], tensors["scale"]
        except (OSError, KeyError, SafetensorError) as error:
            raise no_prior(path) from error
        if mean.dim() != 2 or scale.shape != (*mean.shape, mean.shape[-1]) or not scale.isfinite().all():
            raise no_prior(path)
        return cls(mean, scale)

    def _of_labels(self, label_ids: Tensor | None, like: Tensor) -> Iterator[tuple[Tensor | slice, Tensor, Tensor]]:
        """The texts of each label, and its mean (Z,) and scale (Z, Z) with the device and dtype of `like`."""
        for label, (mean, scale) in enumerate(zip(self.mean.to(like), self.scale.to(like), strict=True)):
            yield slice(None) if label_ids is None else label_ids == label, mean, scale


def _moments(mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (Z,) and the covariance (Z, Z) of a mixture of these diagonal Gaussians."""
    center = mean.mean(0)
    apart = mean - center
    return center, apart.T @ apart / len(mean) + stddev.square().mean(0).diag()


def check_posteriors(mean: Tensor, stddev: Tensor, least: int = 1) -> None:
    """Raises InputError if there are fewer than `least` texts, or a posterior (N, Z) is not finite."""
    if len(mean) == 0:
        raise InputError("A prior is fitted to texts, and there are none: give some.")
    if len(mean) < least:
        raise InputError(
            f"This prior is fitted to {least} texts at least, and there are {len(mean)}: give more, or fit a gaussian."
        )
    if not (mean.isfinite().all() and stddev.isfinite().all()):
        raise InputError("A prior cannot be fitted to posteriors that are not finite: train the model anew.")


def texts_of_labels(label_ids: Sequence[int] | None, count: int, num_labels: int) -> list[Tensor]:
    """The rows of the texts of each label; all `count` rows for a label that has none, or without label ids."""
    ids = torch.zeros(count).long() if label_ids is None else torch.tensor(label_ids)
    of_labels = [(ids == label).nonzero()[:, 0] for label in range(num_labels)]
    return [rows if len(rows) else torch.arange(count) for rows in of_labels]


def held_out_rows(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The rows that a prior is fitted to, and a tenth that judges it: no text is in both."""
    order = torch.randperm(count, generator=generator)
    return order[-(-count // 10) :], order[: -(-count // 10)]


def draws(mean: Tensor, stddev: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A draw of each posterior (N, Z); (N, Z)."""
    return mean + stddev * torch.randn(mean.shape, generator=generator)


def sampled_kl(log_density: Callable[[Tensor], Tensor], mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(logvar))) ‖ p(z)) of each posterior (N, Z), in nats: (N,).

    The entropy is exact; E[log p(z)] is the mean over 16 pairs of draws, mean ± stddev · ε, which is unbiased. The same
    arguments give the same value.
    """
    generator, total = torch.Generator().manual_seed(0), 0.0
    for _ in range(KL_DRAWS):
        step = (logvar / 2).exp() * torch.randn(mean.shape, generator=generator).to(mean)
        total = total + log_density(torch.stack([mean + step, mean - step])).sum(0)
    entropy = (logvar + 1 + math.log(2 * math.pi)).sum(-1) / 2
    return -entropy - total / (2 * KL_DRAWS)


def no_prior(path: str | Path) -> InputError:
    """The error for a file that `load` cannot make a prior of."""
    return InputError(f"{path} holds no prior: save the model again, or delete this file.")

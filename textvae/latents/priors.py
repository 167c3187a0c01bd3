"""Priors that are fitted to codes.

N texts · C labels, 1 for a model without · Z latent_size
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import MultivariateNormal

from textvae.errors import InputError


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
        if len(mean) == 0:
            raise InputError("A prior is fitted to texts, and there are none: give some.")
        if not (mean.isfinite().all() and stddev.isfinite().all()):
            raise InputError("A prior cannot be fitted to posteriors that are not finite: train the model anew.")
        ids = torch.zeros(len(mean)).long() if label_ids is None else torch.tensor(label_ids)
        moments = []
        for label in range(num_labels):
            texts = ids == label if (ids == label).any() else slice(None)
            moments.append(_moments(mean[texts].double(), stddev[texts].double()))
        means, covariances = map(torch.stack, zip(*moments, strict=True))
        return cls(means.float(), torch.linalg.cholesky(covariances).float())

    def draw(self, noise: Tensor, label_ids: Sequence[int] | None = None, temperature: float = 1.0) -> Tensor:
        """mean + temperature · scale · noise, for standard normal noise (N, Z); (N, Z).

        Args:
            label_ids: of each z, for a model with labels.
        """
        ids = [0] * len(noise) if label_ids is None else label_ids
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

    def save(self, path: Path) -> None:
        """Write it to a safetensors file."""
        save_file({"mean": self.mean.contiguous(), "scale": self.scale.contiguous()}, path, {"prior": "gaussian"})

    @classmethod
    def load(cls, path: str | Path) -> "GaussianPrior":
        """What `save` wrote; raises InputError if the file holds anything else."""
        try:
            tensors = load_file(path)
            mean, scale = tensors["mean"], tensors["scale"]
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path} holds no prior: save the model again, or delete this file.") from error
        if mean.dim() != 2 or scale.shape != (*mean.shape, mean.shape[-1]) or not scale.isfinite().all():
            raise InputError(f"{path} holds no prior: save the model again, or delete this file.")
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

"""A mixture of Gaussians as a prior.

N texts · C labels, 1 for a model without · K components · Z latent_size
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import MultivariateNormal

from textvae.errors import require_scikit_learn
from textvae.latents.priors import (
    GaussianPrior,
    check_posteriors,
    draws,
    held_out_rows,
    no_prior,
    sampled_kl,
    texts_of_labels,
)

COMPONENTS = (2, 4, 8, 16, 32, 64)  # that are tried, beside one
LEAST_TEXTS = 10
DRAWS = 4  # of each held-out posterior, that judge
RIDGE, ROUNDS = 1e-3, 60  # added to the variances, of which all codes together have 1; and of EM, at most
TINY = 1e-15


class MixturePrior:
    """A mixture of Gaussians, fitted to the aggregate posterior; one for each label.

    Covariances are diagonal in the coordinates in which all codes together have the covariance 1: full ones would need
    many texts for each component, and made held-out texts no likelier.

    Attributes:
        weights: (C, K), the share of each component; they sum to 1.
        mean: (C, K, Z).
        scale: (C, K, Z, Z), lower triangular; the covariance is scale · scaleᵀ.
    """

    def __init__(self, weights: Tensor, mean: Tensor, scale: Tensor):
        self.weights, self.mean, self.scale = weights, mean, scale

    @classmethod
    def fit(
        cls, mean: Tensor, stddev: Tensor, label_ids: Sequence[int] | None = None, num_labels: int = 1, seed: int = 0
    ) -> "MixturePrior":
        """The mixture, by EM on draws of these posteriors, whose number of components makes a held-out tenth likeliest.

        With one component it is the [`GaussianPrior`]. A label without texts gets the mixture of all texts.

        Args:
            mean, stddev: (N, Z), of q(z|x).
            label_ids: of each text, from 0 to `num_labels` - 1; all 0 if not given.
            seed: of draws, of where EM begins, and of which texts are held out.

        Raises:
            InputError: if there are fewer than 10 texts, a posterior is not finite, or scikit-learn is not installed.
        """
        require_scikit_learn("A mixture")
        check_posteriors(mean, stddev, LEAST_TEXTS)
        of_labels = texts_of_labels(label_ids, len(mean), num_labels)
        return _together([_of_one_label(mean[texts], stddev[texts], seed) for texts in of_labels])

    @property
    def shape(self) -> tuple[int, int]:
        """(C, Z)."""
        return len(self.mean), self.mean.shape[-1]

    def draw(self, noise: Tensor, label_ids: Sequence[int] | None = None, temperature: float = 1.0) -> Tensor:
        """mean + temperature · scale · noise of a component, for standard normal noise (N, Z); (N, Z).

        The share of N(0, 1) below the first number of the noise, which is uniform, chooses the component; where it
        falls within the component's share of (0, 1) makes a new first number. So one noise gives one z, and a mixture
        of one component draws what the Gaussian does.

        Args:
            label_ids: of each z, for a model with labels.
            temperature: 0 gives the means of the components.
        """
        ids = torch.zeros(len(noise)).long() if label_ids is None else torch.tensor(label_ids)
        share = torch.special.ndtr(noise[:, :1].double()).clamp(TINY, 1 - TINY)  # (N, 1)
        weights = self.weights.double()[ids]  # (N, K)
        ends = weights.cumsum(1)
        component = (share > ends[:, :-1]).sum(1, keepdim=True)
        within = (share - (ends - weights).gather(1, component)) / weights.gather(1, component)
        first = torch.special.ndtri(within.clamp(TINY, 1 - TINY)).to(noise)
        noise, latents = torch.cat([first, noise[:, 1:]], dim=1), torch.empty_like(noise)
        with torch.autocast(noise.device.type, enabled=False):  # of an evaluation in mixed precision
            for label, number in torch.stack([ids, component[:, 0]], dim=1).unique(dim=0).tolist():
                rows = (ids == label) & (component[:, 0] == number)
                latents[rows] = self.mean[label, number] + temperature * (noise[rows] @ self.scale[label, number].T)
        return latents

    def log_density(self, latents: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """log p(z) in nats, or log p(z|c) with the labels (N,): (…, N, Z) → (…, N)."""
        density = latents.new_empty(latents.shape[:-1])
        for label, weights in enumerate(self.weights.to(latents)):
            texts = slice(None) if label_ids is None else label_ids == label
            of_components = zip(self.mean[label].to(latents), self.scale[label].to(latents), strict=True)
            densities = [
                MultivariateNormal(mean, scale_tril=scale, validate_args=False).log_prob(latents[..., texts, :])
                for mean, scale in of_components
            ]
            density[..., texts] = (torch.stack(densities, dim=-1) + weights.log()).logsumexp(-1)
        return density

    def kl(self, mean: Tensor, logvar: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """KL(N(mean, diag(exp(logvar))) ‖ p(z)) of each posterior (N, Z), from draws of it, in nats: (N,)."""
        return sampled_kl(lambda latents: self.log_density(latents, label_ids), mean, logvar)

    def tensors(self) -> dict[str, Tensor]:
        """What `__init__` takes, by name."""
        parts = {"weights": self.weights, "mean": self.mean, "scale": self.scale}
        return {name: tensor.contiguous() for name, tensor in parts.items()}

    def save(self, path: Path) -> None:
        """Write it to a safetensors file."""
        save_file(self.tensors(), path, {"prior": "mixture"})

    @classmethod
    def load(cls, path: str | Path) -> "MixturePrior":
        """What `save` wrote; raises InputError if the file holds anything else."""
        try:
            tensors = load_file(path)
            weights, mean, scale = (tensors[name] for name in ("weights", "mean", "scale"))
        except (OSError, KeyError, SafetensorError) as error:
            raise no_prior(path) from error
        if mean.dim() != 3 or weights.shape != mean.shape[:2] or scale.shape != (*mean.shape, mean.shape[-1]):
            raise no_prior(path)
        if not all(part.isfinite().all() for part in (weights, mean, scale)):
            raise no_prior(path)
        return cls(weights, mean, scale)


def _of_one_label(mean: Tensor, stddev: Tensor, seed: int) -> list[Tensor]:
    """Weights (K,), mean (K, Z) and scale (K, Z, Z) of the mixture that makes held-out texts likeliest."""
    generator = torch.Generator().manual_seed(seed)
    rows, held_out = held_out_rows(len(mean), generator)
    judged = draws(mean[held_out].repeat(DRAWS, 1), stddev[held_out].repeat(DRAWS, 1), generator)
    best, number = -torch.inf, 1
    for components in (1, *COMPONENTS):
        if components > len(rows):
            break
        one = MixturePrior(*(part.unsqueeze(0) for part in _em(mean[rows], stddev[rows], components, seed)))
        density = float(one.log_density(judged).mean())
        if density <= best:
            break
        best, number = density, components
    return _em(mean, stddev, number, seed)


def _em(mean: Tensor, stddev: Tensor, components: int, seed: int) -> list[Tensor]:
    """Weights (K,), mean (K, Z) and scale (K, Z, Z) by EM; those of the Gaussian for one component."""
    from sklearn.mixture import GaussianMixture

    gaussian = GaussianPrior.fit(mean, stddev)
    center, scale = gaussian.mean[0], gaussian.scale[0]
    if components == 1:
        return [torch.ones(1), gaussian.mean, gaussian.scale]
    generator = torch.Generator().manual_seed(seed)
    points = gaussian.whiten(draws(mean, stddev, generator))[0].double().numpy()
    mixture = GaussianMixture(components, covariance_type="diag", reg_covar=RIDGE, max_iter=ROUNDS, random_state=seed)
    found = mixture.fit(points)
    weights, means, variances = (
        torch.from_numpy(part).float() for part in (found.weights_, found.means_, found.covariances_)
    )
    return [weights, center + means @ scale.T, scale * variances.sqrt().unsqueeze(1)]


def _together(of_labels: Sequence[list[Tensor]]) -> MixturePrior:
    """The mixtures of all labels; those of fewer components have some with a share of 0."""
    most = max(len(weights) for weights, _, _ in of_labels)
    padded = []
    for weights, mean, scale in of_labels:
        missing = most - len(weights)
        padded.append(
            (
                torch.cat([weights, weights.new_zeros(missing)]),
                torch.cat([mean, mean[:1].repeat(missing, 1)]),
                torch.cat([scale, scale[:1].repeat(missing, 1, 1)]),
            )
        )
    return MixturePrior(*map(torch.stack, zip(*padded, strict=True)))

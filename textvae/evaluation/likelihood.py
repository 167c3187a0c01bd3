"""Bounds on −log p(x): the ELBO from one sample of q(z|x), tighter ones from many. All in nats.

B batch · S, T lengths · Z latent_size · K samples · n texts

The noise of a text is drawn from (seed, purpose, index of the text), so that batch size, order and the number of
processes change nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from textvae.data.inference_batches import InferenceBatches
from textvae.data.special_tokens import IGNORED
from textvae.evaluation import metrics
from textvae.latents.priors import Prior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.objectives.terms import ROWS_AT_ONCE, bounds_of_priors, normal_kl, normal_prior, reparameterize
from textvae.processes import gather_rows

POSTERIOR, IMPORTANCE, CHOICE, BATTERY, SAMPLES, SPLIT = range(6)  # purposes, each with a stream of random numbers
SAMPLES_AT_ONCE, TOKENS_AT_ONCE = 8, 2**15  # of importance sampling, if `batch_size` texts fit into memory


def importance_weighted_nll(
    model: TextVAEModel,
    batch: dict[str, Tensor],
    num_samples: int,
    draw: Callable[[int], Tensor] | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Upper bound on -log p(x) of each text from `num_samples` draws of q(z|x), in nats (Burda et al. 2016, eq. 8).

    See [`textvae.objectives.importance_weighted_bound`]. For a language model it is -log p(x) itself, from one draw.

    Args:
        model: in evaluation mode; with dropout every draw would come from another model.
        batch: `input_ids` and `attention_mask`, both (B, S), and optionally `labels` (B, T); for a model with labels
            also `label_ids` (B,), and the bound is on -log p(x|c).
        draw: k → standard normal noise (k, B, Z); torch's own if not given.
        batch_size: the decoder reads at most eight times so many latents at once, and at most 512.

    Returns:
        (B,)

    Raises:
        InputError: if `num_samples` is below 1.
    """
    return nll_of_priors(model, batch, num_samples, draw, batch_size)[0]


@torch.no_grad()
def nll_of_priors(
    model: TextVAEModel,
    batch: dict[str, Tensor],
    num_samples: int,
    draw: Callable[[int], Tensor] | None = None,
    batch_size: int = 64,
    fitted: Prior | None = None,
) -> Tensor:
    """[`importance_weighted_nll`] with the model's own prior and, if given, a fitted one: (1 or 2, B)."""
    label_ids = batch.get("label_ids")
    mean, logvar = model.posterior_parameters(batch["input_ids"], batch["attention_mask"], label_ids)
    labels = _labels(batch)

    def log_likelihood(latents: Tensor) -> Tensor:
        k = len(latents)
        repeated = None if label_ids is None else label_ids.repeat(k)
        nll = model.reconstruction(latents.flatten(0, 1), labels.repeat(k, 1), label_ids=repeated)
        return -nll.view(k, -1)

    priors = [normal_prior(*model.prior_parameters(label_ids))]
    if fitted is not None:
        priors.append(partial(fitted.log_density, label_ids=label_ids))
    rows = min(ROWS_AT_ONCE, SAMPLES_AT_ONCE * batch_size, TOKENS_AT_ONCE // labels.shape[1])
    return bounds_of_priors(log_likelihood, mean, logvar, samples_needed(model, num_samples), draw, priors, rows)


def samples_needed(model: TextVAEModel, num_samples: int) -> int:
    """At most one for a language model, where every importance weight is p(x) itself."""
    return min(num_samples, 1) if model.config.is_language_model else num_samples


def _labels(batch: dict[str, Tensor]) -> Tensor:
    """The targets (B, T): `labels` if given, else the input; -100 at padding."""
    if "labels" in batch:
        return batch["labels"]
    return batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)


class Noise(Protocol):
    """A function of k and size, as `noise_of_texts` gives it."""

    def __call__(self, k: int, size: int) -> Tensor: ...


def noise_of_texts(seed: int, purpose: int, indices: Sequence[int]) -> Noise:
    """k, size → standard normal noise (k, texts, size); every text has its own stream."""
    streams = [np.random.default_rng((seed, purpose, index)) for index in indices]

    def draw(k: int, size: int) -> Tensor:
        drawn = [stream.standard_normal((k, size), dtype=np.float32) for stream in streams]
        return torch.from_numpy(np.stack(drawn, axis=1))

    return draw


@torch.no_grad()
def draws_of_prior(
    model: TextVAEModel,
    label_ids: Sequence[int] | None,
    indices: Sequence[int],
    seed: int,
    purpose: int,
    fitted: Prior | None = None,
) -> Tensor:
    """A draw of the prior for each index, with labels of p(z|c) of its label in `label_ids`: (n, Z), on the CPU.

    Args:
        fitted: a fitted prior, in place of the model's own.
    """
    noise = noise_of_texts(seed, purpose, indices)(1, model.config.latent_size)[0]
    if fitted is not None:
        return fitted.draw(noise, label_ids)
    ids = None if label_ids is None else torch.tensor(label_ids, device=model.device)
    mean, logvar = (part.cpu() for part in model.prior_parameters(ids))  # (1, Z), or (n, Z) with labels
    return reparameterize(mean, logvar, noise)


@torch.no_grad()
def posterior_terms(
    model: TextVAEModel, texts: InferenceBatches, indices: Sequence[int], seed: int = 0
) -> dict[str, Tensor]:
    """`mean`, `logvar`, `latents` (n, Z), `reconstruction` and `kl` (n,) of each text, from one sample of q(z|x)."""
    found = []
    for rows, batch in texts.batches(indices, "evaluating"):
        label_ids = batch.get("label_ids")
        mean, logvar = model.posterior_parameters(batch["input_ids"], batch["attention_mask"], label_ids)
        noise = noise_of_texts(seed, POSTERIOR, rows)(1, model.config.latent_size)[0].to(mean.device)
        latents = reparameterize(mean, logvar, noise)
        terms = {
            "mean": mean,
            "logvar": logvar,
            "latents": latents,
            "reconstruction": model.reconstruction(latents, batch["labels"], label_ids=label_ids),
            "kl": normal_kl(mean, logvar, *model.prior_parameters(label_ids)).sum(-1),
        }
        found.append((rows, {name: tensor.cpu() for name, tensor in terms.items()}))
    return gather_rows(found)


def bound(terms: dict[str, Tensor]) -> dict[str, float]:
    """−ELBO, its two parts and the active units, from `posterior_terms`."""
    reconstruction, kl = (float(terms[name].double().mean()) for name in ("reconstruction", "kl"))
    return {
        "negative_elbo": reconstruction + kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "active_units": metrics.active_units(terms["mean"]),
    }


@torch.no_grad()
def nll_with(model: TextVAEModel, texts: InferenceBatches, indices: Sequence[int], latents: Tensor) -> Tensor:
    """-log p(x|z) (n,) of each text, with these z (n, Z)."""
    place = {index: row for row, index in enumerate(sorted(indices))}
    found = []
    for rows, batch in texts.batches(indices, "decoding another z"):
        chosen = latents[[place[index] for index in rows]].to(texts.device)
        nll = model.reconstruction(chosen, batch["labels"], label_ids=batch.get("label_ids"))
        found.append((rows, {"nll": nll.cpu()}))
    return gather_rows(found)["nll"]


def preceding_of_label(label_ids: Tensor) -> Tensor:
    """For each text the previous text with its label; for the first of them the last: (N,) → (N,).

    A text that alone has its label gets itself.
    """
    order = label_ids.argsort(stable=True)
    counts = label_ids.unique(return_counts=True)[1]
    ends = counts.cumsum(0)
    before = order.roll(1)
    before[ends - counts] = order[ends - 1]
    return torch.empty_like(order).scatter(0, order, before)

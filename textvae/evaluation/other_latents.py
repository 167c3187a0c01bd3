"""Other z than its own for each text: what reconstruction loses with each of them says what z carries.

N texts · Z latent_size · L labels
"""

import numpy as np
import torch
from torch import Tensor

from textvae.evaluation.likelihood import BATTERY, CHOICE, draws_of_prior, preceding_of_label
from textvae.modeling.autoencoder import TextVAEModel


def other_latents(
    model: TextVAEModel, mean: Tensor, latents: Tensor, label_ids: list[int] | None, seed: int
) -> dict[str, Tensor]:
    """For each text another z, four times: `shuffle`, `zero`, `mean` and `noise`, each (N, Z) on the CPU.

    With labels, the z of another text and the mean are those of the texts with its label, and noise is a draw of
    p(z|c): z of another label would cost nats even if z said no more than the label, which the decoder is told anyway.

    Args:
        mean: (N, Z), the posterior means.
        latents: (N, Z), a draw of each posterior.
        label_ids: of each text; None for a model without labels.
    """
    groups = torch.zeros(len(mean), dtype=torch.long) if label_ids is None else torch.tensor(label_ids)
    return {
        "shuffle": of_another_text(latents, groups, seed),
        "zero": torch.zeros_like(latents),
        "mean": _mean_of_label(mean, groups),
        "noise": draws_of_prior(model, label_ids, range(len(mean)), seed, BATTERY),
    }


def of_another_text(latents: Tensor, label_ids: Tensor, seed: int) -> Tensor:
    """Give every text the z of another text with its label, never its own unless it alone has that label.

    Args:
        latents: (N, Z).
        label_ids: (N,).

    Returns:
        (N, Z)
    """
    cycle = torch.from_numpy(np.random.default_rng((seed, CHOICE)).permutation(len(latents)))
    others = torch.empty_like(latents)
    others[cycle] = latents[cycle[preceding_of_label(label_ids[cycle])]]
    return others


def _mean_of_label(mean: Tensor, label_ids: Tensor) -> Tensor:
    """The average of `mean` (N, Z) over the texts with the same label, for each text: (N, Z)."""
    counts = label_ids.bincount()  # (L,)
    sums = torch.zeros(len(counts), mean.shape[1], dtype=torch.float64).index_add(0, label_ids, mean.double())
    return (sums / counts.clamp(min=1)[:, None])[label_ids].to(mean.dtype)

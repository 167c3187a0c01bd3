"""Scores of texts: bounds on −log p(x), all from the same noise.

N texts · Z latent_size · K samples
"""

from collections.abc import Sequence

import torch

from textvae.data.inference_batches import InferenceBatches
from textvae.evaluation.likelihood import importance_weighted_nll
from textvae.pipeline.codec import Codec


def score_texts(codec: Codec, read: InferenceBatches, num_samples: int) -> list[float]:
    """The importance-weighted bound of each text from K samples, in nats; all texts share the K draws of noise."""
    noise = codec.draws.noise(num_samples, 1, codec.model.config.latent_size)  # (K, 1, Z)

    @torch.no_grad()
    def nll(indices: Sequence[int]) -> list[float]:
        rows = iter(noise.expand(-1, len(indices), -1))

        def draw(k: int) -> torch.Tensor:
            return torch.stack([next(rows) for _ in range(k)])

        batch = read.batch(indices)
        return importance_weighted_nll(codec.model, batch, num_samples, draw, codec.batch_size).tolist()

    return codec.in_batches(nll, read.lengths, "scoring")

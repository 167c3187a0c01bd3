"""The fingerprint of a model: numbers by which what was fitted to its z is known to be of this model."""

import torch
from torch import Tensor

from textvae.modeling.autoencoder import TextVAEModel

_APART = 0.05  # of a fingerprint; weights in bf16 give another by less than a fifth of this


@torch.no_grad()
def fingerprint(model: TextVAEModel) -> Tensor:
    """What the model makes of some tokens: the mean of q(z|x), and the nats of each token given this z.

    It stays the same, but for rounding, in another dtype, on another device, and when adapters are merged.
    """
    config = model.config
    read, written = (
        torch.linspace(0, part.vocab_size - 1, 8).long().unsqueeze(0).to(model.device)
        for part in (config.encoder_config, config.decoder_config)
    )
    label_ids = torch.zeros(1, dtype=torch.long, device=model.device) if config.label_names else None
    mean, _ = model.posterior_parameters(read, torch.ones_like(read), label_ids)
    nll = model.token_nll(mean, written, label_ids=label_ids)
    return torch.cat([mean, nll], dim=1)[0].float().cpu()


def is_of(found: Tensor, model: TextVAEModel) -> bool:
    """Whether this is the fingerprint of the model, in whatever precision it was opened."""
    own = fingerprint(model)
    return own.shape == found.shape and bool((own - found).norm() <= _APART * own.norm())

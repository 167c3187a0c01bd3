"""The posterior q(z|x): from the encoder's states to its mean and log-variance.

B batch · S encoder length · H hidden size · Z latent_size
"""

import torch
from torch import Tensor, nn

from textvae.errors import InputError
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.waves import num_features, pooled_by_position
from textvae.objectives.terms import logvar_of_rate


class Posterior(nn.Module):
    """q(z|x) = N(mean, diag(exp(logvar))) from the encoder's states.

    Args:
        states_size: H.

    Raises:
        InputError: if the `committed_rate` needs a log-variance below `min_logvar`.
    """

    def __init__(self, config: TextVAEConfig, states_size: int):
        super().__init__()
        self.bounds = config.min_logvar, config.max_logvar
        self.num_queries = config.pooling_queries if config.pooling == "queries" else 1
        if config.pooling == "queries":
            self.pooling = QueryPooling(config.pooling_queries, states_size)
        else:
            self.pooling = Pooling(config.pooling, states_size)
        self.num_waves = config.position_waves if config.pooling == "mean" else 0
        width = states_size * num_features(self.num_waves)
        self.to_mean = nn.Linear(width, config.latent_size)
        self.to_logvar = nn.Linear(width, config.latent_size)
        self.mean_norm = None
        if config.mean_batch_norm:
            self.mean_norm = MeanBatchNorm(config.latent_size, config.mean_batch_norm)
        self.logvar_limit = logvar_of_rate(config.committed_rate) if config.committed_rate else None
        if self.logvar_limit is not None and self.logvar_limit <= config.min_logvar:
            raise InputError(
                f"A committed_rate of {config.committed_rate:g} nats per dimension needs log σ² below "
                f"{self.logvar_limit:.1f}, and min_logvar is {config.min_logvar:g}: give a lower rate."
            )

    def forward(self, states: Tensor, mask: Tensor, label_vectors: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, within its bounds, in fp32.

        Args:
            states: (B, S, H).
            mask: (B, S), 0 at padding.
            label_vectors: (B, H), added to the pooled states.

        Returns:
            Two times (B, Z).
        """
        if self.num_waves:
            pooled = pooled_by_position(states, mask, self.num_waves)  # (B, F · H)
        else:
            pooled = self.pooling(states, mask)  # (B, H), or (B, queries, H)
        if label_vectors is not None:
            pooled = pooled + _like(pooled, label_vectors)
        mean, logvar = (self._mapped(layer, pooled).float() for layer in (self.to_mean, self.to_logvar))
        if self.mean_norm is not None:
            mean = self.mean_norm(mean)
        if self.logvar_limit is not None:  # approached smoothly: a clamp would stop the gradient
            logvar = self.logvar_limit - nn.functional.softplus(self.logvar_limit - logvar)
        return mean, logvar.clamp(*self.bounds)

    def _mapped(self, layer: nn.Linear, pooled: Tensor) -> Tensor:
        """What the layer makes of the pooled states, (B, Z); of several queries, its rows of each for each."""
        if pooled.dim() == 2:
            return layer(pooled)
        weight, bias = (part.unflatten(0, (self.num_queries, -1)) for part in (layer.weight, layer.bias))
        return (torch.einsum("bqh,qzh->bqz", pooled, weight) + bias).flatten(1)


def _like(pooled: Tensor, label_vectors: Tensor) -> Tensor:
    """The label vectors (B, H) for several queries (B, 1, H), or with 0 for all but the constant feature (B, F · H)."""
    label_vectors = label_vectors.to(pooled.dtype)
    if pooled.dim() == 3:
        return label_vectors.unsqueeze(1)
    return nn.functional.pad(label_vectors, (0, pooled.shape[1] - label_vectors.shape[1]))


class Pooling(nn.Module):
    """One vector (B, H) from the states (B, S, H) at the positions where the mask (B, S) is 1."""

    def __init__(self, kind: str, hidden_size: int):
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(hidden_size, 1) if kind == "attention" else None

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "cls":
            return states[:, 0]
        if self.kind == "last":
            last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)
            return states[torch.arange(len(states), device=mask.device), last]
        hidden = ~mask.bool().unsqueeze(-1)  # (B, S, 1)
        if self.kind == "max":
            return states.masked_fill(hidden, torch.finfo(states.dtype).min).amax(1)
        if self.score is not None:
            scores = self.score(states).float()  # autocast may have computed it in a dtype with another minimum
            weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(1)
        else:
            weights = mask.unsqueeze(-1) / mask.sum(1, keepdim=True).unsqueeze(-1)
        return (weights.to(states.dtype) * states.masked_fill(hidden, 0)).sum(1)


class QueryPooling(nn.Module):
    """Learned queries attend to the states (B, S, H) at the positions where the mask (B, S) is 1: (B, queries, H).

    The pooling by multihead attention of the Set Transformer (Lee et al. 2019, section 3.2), with one layer.
    """

    def __init__(self, num_queries: int, hidden_size: int):
        super().__init__()
        self.queries = nn.Parameter(torch.empty(num_queries, hidden_size))
        heads = next(heads for heads in (4, 2, 1) if hidden_size % heads == 0)
        self.attention = nn.MultiheadAttention(hidden_size, heads, batch_first=True)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        hidden = ~mask.bool()  # (B, S)
        queries = self.queries.to(states.dtype).expand(len(states), -1, -1)
        states = states.masked_fill(hidden.unsqueeze(-1), 0)
        return self.attention(queries, states, states, key_padding_mask=hidden, need_weights=False)[0]


class MeanBatchNorm(nn.Module):
    """Batch norm of the posterior means (B, Z): standard deviation γ around a learned centre (BN-VAE, Zhu et al. 2020).

    Training uses the batch of this process, evaluation the moving average over batches.
    """

    def __init__(self, latent_size: int, scale: float):
        super().__init__()
        self.scale = scale
        # With torch's ε of 1e-5 the encoder learns means of so small a variance that they are not scaled up to γ.
        self.norm = nn.BatchNorm1d(latent_size, eps=1e-8, affine=False)
        self.center = nn.Parameter(torch.zeros(latent_size))

    def forward(self, mean: Tensor) -> Tensor:
        if self.training and len(mean) == 1:  # one text has no spread
            normal = nn.functional.batch_norm(mean, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
        else:
            normal = self.norm(mean)
        return self.scale * normal + self.center

"""Latent injection: how the decoder is told about z.

B batch · T decoder length · P prefix length · E embedding size · H size of the last states · Z latent_size ·
F position features
"""

import torch
from torch import Tensor, nn

from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.waves import num_features, position_features


class Injection(nn.Module):
    """Maps of z to what a decoder reads and writes; `latent_injection` of the config says which there are.

    - `prefix`: P soft tokens before the text.
    - `embedding`: a vector added to every input embedding, soft tokens included.
    - `output`: a vector added to every state that the softmax over the vocabulary reads.

    With `position_waves` of the config, the vectors of `embedding` and `output` change from position to position.

    Args:
        embedding_size: E.
        states_size: H.
    """

    def __init__(self, config: TextVAEConfig, embedding_size: int, states_size: int):
        super().__init__()
        self.prefix_length, self.num_waves = config.prefix_length, config.position_waves
        self.to_embedding = self.to_prefix = self.to_output = None
        features = num_features(self.num_waves)
        if "embedding" in config.latent_injection:
            self.to_embedding = nn.Linear(config.latent_size, features * embedding_size)
        if self.prefix_length:
            self.to_prefix = nn.Linear(config.latent_size, self.prefix_length * embedding_size)
        if "output" in config.latent_injection:
            self.to_output = nn.Linear(config.latent_size, features * states_size)

    def inputs(self, latents: Tensor, embeds: Tensor, start: int = 0) -> Tensor:
        """The decoder's input embeddings, told about z.

        Args:
            latents: (B, Z).
            embeds: (B, T, E), of the text.
            start: positions that the decoder's cache holds already, soft tokens included.

        Returns:
            (B, P + T, E), or (B, T, E) if the cache holds the soft tokens.
        """
        if self.to_prefix is not None and not start:
            prefix = _mapped(self.to_prefix, latents, embeds.dtype)  # (B, P · E)
            embeds = torch.cat([prefix.view(len(latents), -1, embeds.shape[-1]), embeds], dim=1)
        if self.to_embedding is not None:
            embeds = embeds + self._at_positions(self.to_embedding, latents, embeds, start)
        return embeds

    def mask(self, attention_mask: Tensor | None) -> Tensor | None:
        """The attention mask (B, T) with ones for the soft tokens before the text: (B, P + T)."""
        if attention_mask is None:
            return None
        return nn.functional.pad(attention_mask, (self.prefix_length, 0), value=1)

    def states(self, latents: Tensor, states: Tensor, start: int = 0) -> Tensor:
        """The decoder's last hidden states (B, T, H) from position `start` on, told about z (B, Z)."""
        if self.to_output is None:
            return states
        return states + self._at_positions(self.to_output, latents, states, start)

    def _at_positions(self, layer: nn.Linear, latents: Tensor, like: Tensor, start: int) -> Tensor:
        """What the layer makes of z at each position of `like` (B, T, E): (B, T, E), or (B, 1, E) without waves."""
        maps = _mapped(layer, latents, like.dtype).unflatten(-1, (-1, like.shape[-1]))  # (B, F, E)
        if not self.num_waves:
            return maps
        return position_features(start, like.shape[1], self.num_waves, like) @ maps


def _mapped(layer: nn.Linear, latents: Tensor, dtype: torch.dtype) -> Tensor:
    """`layer(latents)` in the decoder's dtype, which differs from the map's if the decoder is frozen in bf16."""
    return layer(latents.to(layer.weight.dtype)).to(dtype)

"""Latent injection: how the decoder is told about z.

B batch · T decoder length · P prefix length · E embedding size · H size of the last states · Z latent_size
"""

import torch
from torch import Tensor, nn

from textvae.modeling.configuration import TextVAEConfig


class Injection(nn.Module):
    """Maps of z to what a decoder reads and writes; `latent_injection` of the config says which there are.

    - `prefix`: P soft tokens before the text.
    - `embedding`: a vector added to every input embedding, soft tokens included.
    - `output`: a vector added to every state that the softmax over the vocabulary reads.

    Args:
        embedding_size: E.
        states_size: H.
    """

    def __init__(self, config: TextVAEConfig, embedding_size: int, states_size: int):
        super().__init__()
        self.prefix_length = config.prefix_length
        self.to_embedding = self.to_prefix = self.to_output = None
        if "embedding" in config.latent_injection:
            self.to_embedding = nn.Linear(config.latent_size, embedding_size)
        if self.prefix_length:
            self.to_prefix = nn.Linear(config.latent_size, self.prefix_length * embedding_size)
        if "output" in config.latent_injection:
            self.to_output = nn.Linear(config.latent_size, states_size)

    def inputs(self, latents: Tensor, embeds: Tensor, has_prefix: bool) -> Tensor:
        """The decoder's input embeddings, told about z.

        Args:
            latents: (B, Z).
            embeds: (B, T, E), of the text.
            has_prefix: whether the decoder's cache already holds the soft tokens.

        Returns:
            (B, P + T, E), or (B, T, E) if it does.
        """
        if self.to_prefix is not None and not has_prefix:
            prefix = _mapped(self.to_prefix, latents, embeds.dtype)  # (B, P · E)
            embeds = torch.cat([prefix.view(len(latents), -1, embeds.shape[-1]), embeds], dim=1)
        if self.to_embedding is not None:
            embeds = embeds + _mapped(self.to_embedding, latents, embeds.dtype).unsqueeze(1)
        return embeds

    def mask(self, attention_mask: Tensor | None) -> Tensor | None:
        """The attention mask (B, T) with ones for the soft tokens before the text: (B, P + T)."""
        if attention_mask is None:
            return None
        return nn.functional.pad(attention_mask, (self.prefix_length, 0), value=1)

    def states(self, latents: Tensor, states: Tensor) -> Tensor:
        """The decoder's last hidden states (B, T, H), told about z (B, Z)."""
        if self.to_output is None:
            return states
        return states + _mapped(self.to_output, latents, states.dtype).unsqueeze(1)


def _mapped(layer: nn.Linear, latents: Tensor, dtype: torch.dtype) -> Tensor:
    """`layer(latents)` in the decoder's dtype, which differs from the map's if the decoder is frozen in bf16."""
    return layer(latents.to(layer.weight.dtype)).to(dtype)

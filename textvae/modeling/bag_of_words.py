"""A head that predicts the words of a text, in no order, from z alone.

B batch · T decoder length · Z latent_size · E embedding size · V vocabulary
"""

from torch import Tensor, nn

from textvae.data.special_tokens import IGNORED
from textvae.modeling.configuration import TextVAEConfig


class BagOfWords(nn.Sequential):
    """softmax(W tanh(V z)) over the vocabulary (kgCVAE, Zhao et al. 2017, eq. 5)."""

    def __init__(self, config: TextVAEConfig, embedding_size: int):
        sizes = config.latent_size, embedding_size, config.decoder_config.vocab_size
        super().__init__(nn.Linear(*sizes[:2]), nn.Tanh(), nn.Linear(*sizes[1:]))

    def nll(self, latents: Tensor, labels: Tensor) -> Tensor:
        """-Σ_t log softmax(W tanh(V z))[x_t] of each text, in nats.

        Args:
            latents: (B, Z).
            labels: (B, T), -100 at padding.

        Returns:
            (B,) in fp32.
        """
        log_probabilities = self(latents).float().log_softmax(-1)  # (B, V)
        predicted = labels != IGNORED
        return -(log_probabilities.gather(1, labels.masked_fill(~predicted, 0)) * predicted).sum(1)

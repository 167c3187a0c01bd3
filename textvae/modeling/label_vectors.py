"""The learned vectors of labels, which make a text VAE a conditional one.

B batch · L labels · E embedding size · H size of the encoder's states · Z latent_size
"""

from torch import Tensor, nn

from textvae.errors import InputError
from textvae.modeling.configuration import TextVAEConfig


class LabelVectors(nn.Module):
    """Three learned vectors for each label (Sohn et al. 2015; for texts kgCVAE, Zhao et al. 2017).

    Attributes:
        to_embedding: (L, E), added to every input embedding of the decoder, soft tokens included.
        to_pooled: (L, H), added to the encoder's pooled states.
        to_prior: (L, 2 Z), mean and log-variance of the prior p(z|c); N(0, I) before training.

    A language model has the first only.
    """

    def __init__(self, config: TextVAEConfig, embedding_size: int, states_size: int | None):
        super().__init__()
        num_labels = len(config.label_names)
        self.to_embedding = nn.Embedding(num_labels, embedding_size)
        self.to_pooled = self.to_prior = None
        if states_size is not None:
            self.to_pooled = nn.Embedding(num_labels, states_size)
            self.to_prior = nn.Embedding(num_labels, 2 * config.latent_size)


def check_label_ids(label_names: list[str], label_ids: Tensor | None, num_texts: int) -> None:
    """Raises InputError if `label_ids` are missing, of another shape than (B,), or given to a model without labels."""
    if not label_names:
        if label_ids is not None:
            raise InputError("This model has no labels: leave label_ids out.")
        return
    if label_ids is None:
        raise InputError(f"This model has {len(label_names)} labels: give label_ids, the id of each text's label.")
    if label_ids.shape != (num_texts,):
        raise InputError(f"label_ids must be ({num_texts},), one for each text, not {tuple(label_ids.shape)}.")

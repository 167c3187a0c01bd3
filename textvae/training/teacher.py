"""Teacher: a pretrained sentence encoder, whose similarities between texts the latent space keeps.

b texts of this process in a batch · H size of an embedding · Z latent_size
"""

import torch
from datasets import Dataset
from torch import Tensor

from textvae.evaluation.judges import SentenceEncoder
from textvae.objectives.terms import similarity_difference


class Teacher:
    """Reads the texts of a batch, and says how far their z are from its own view of them. Nothing of it is trained.

    Args:
        name: of the encoder, a path or on the Hub.
        texts: the training set; its clean texts are read, also if the text VAE reads corrupted ones.

    Raises:
        InputError: if the encoder cannot be opened.
    """

    def __init__(self, name: str, texts: Dataset, device: torch.device):
        self.encoder, self.texts = SentenceEncoder(name, device), texts.select_columns("text")

    def difference(self, means: Tensor, rows: Tensor) -> Tensor:
        """[`similarity_difference`] of the means (b, Z) of the texts in these rows (b,); a scalar."""
        return similarity_difference(means, self.encoder.embed_batch(self.texts[rows.tolist()]["text"]))

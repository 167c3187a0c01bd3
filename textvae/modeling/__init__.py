"""The model: text → posterior → z → text. Tensors in, tensors out.

Another pretrained family goes into `families`, another way to tell the decoder about z into `injection`.
"""

from textvae.modeling.autoencoder import TextVAEModel, TextVAEOutput, shift_right
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.families import DECODERS, ENCODERS
from textvae.modeling.gru import GRUConfig, GRUForCausalLM, GRUModel
from textvae.modeling.load import join_parts, load_model

__all__ = [
    "DECODERS",
    "ENCODERS",
    "GRUConfig",
    "GRUForCausalLM",
    "GRUModel",
    "TextVAEConfig",
    "TextVAEModel",
    "TextVAEOutput",
    "join_parts",
    "load_model",
    "shift_right",
]

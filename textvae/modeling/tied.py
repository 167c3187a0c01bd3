"""Token embeddings that encoder and decoder share."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from textvae.modeling.families import token_embeddings


def tied_names(encoder: PreTrainedModel, decoder: PreTrainedModel) -> dict[str, str]:
    """The name of the encoder's embeddings in a model of both → that of the decoder's, as transformers ties weights.

    Empty if they cannot be shared: their shapes differ, or the encoder ties its own.
    """
    own, others = token_embeddings(encoder).weight, token_embeddings(decoder).weight
    if own.shape != others.shape or encoder.all_tied_weights_keys:
        return {}
    source = _name_of(others, decoder)
    source = decoder.all_tied_weights_keys.get(source, source)
    return {f"encoder.{_name_of(own, encoder)}": f"decoder.{source}"}


def _name_of(weight: Tensor, model: PreTrainedModel) -> str:
    return next(name for name, one in model.named_parameters(remove_duplicate=False) if one is weight)


@torch.no_grad()
def untie(model) -> None:
    """Give the encoder of a text VAE embeddings of its own, equal to those that it shared with the decoder."""
    if not model.config.tie_encoder_embeddings:
        return
    embeddings = token_embeddings(model.encoder)
    embeddings.weight = nn.Parameter(embeddings.weight.clone())
    for name in model._tied_weights_keys:
        del model.all_tied_weights_keys[name]
    model._tied_weights_keys = {}
    model.config.tie_encoder_embeddings = False

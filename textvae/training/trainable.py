"""Trainable parameters: frozen parts, adapters, and a phase in which the bottleneck alone is trained.

The bottleneck, everything that is neither encoder nor decoder, is always trained.
"""

from functools import partial
from typing import cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from textvae.errors import InputError
from textvae.modeling.adapters import add_adapters
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import new_base
from textvae.modeling.compat import checkpointing_layers, enable_checkpointing, set_checkpointing
from textvae.modeling.pretrained import cast_weights
from textvae.modeling.tied import untie
from textvae.training.checks import PARTS
from textvae.training.config import TrainingConfig


def choose_trainable(model: TextVAEModel, config: TrainingConfig) -> None:
    """Freeze parts and add adapters as the config asks, and note the base model in the model's config.

    Raises:
        InputError: if nothing would be left to train, a setting is for an encoder and the model has none, or the model
            has adapters already.
    """
    before = model.config.base or {}
    _check(model, config, before)
    if before:
        model.requires_grad_(True)
    if model.to_bag_of_words is not None and not config.bag_of_words_weight:
        model.to_bag_of_words.requires_grad_(False)  # several processes wait for every gradient
    base = {}
    if config.untrained_parts:
        untie(model)  # one part trains its embeddings, and the other keeps those of its base model
    for name in config.untrained_parts:
        origin = before.get(name) or new_base(cast(str, config.origin_of(name)), name)  # no new part is untrained
        part = model.part(name).requires_grad_(False)
        quantization = config.decoder_quantization if name == "decoder" else "none"
        if quantization == "none":
            cast_weights(part, config.dtype_of(name))
        lora = None
        if name in config.lora:
            lora = {"rank": config.lora_rank, "alpha": config.lora_alpha, "dropout": config.lora_dropout}
            add_adapters(part, **lora)
        base[name] = origin | {"dtype": config.weights_dtype, "quantization": quantization, "lora": lora}
    model.config.base = base or None


def _check(model: TextVAEModel, config: TrainingConfig, before: dict) -> None:
    if any(entry["lora"] is not None for entry in before.values()):
        raise InputError(
            f"{config.model_name_or_path!r} has adapters: merge them (recipes/merge.py) and give the result."
        )
    if not model.config.is_language_model:
        return
    if "encoder" in config.untrained_parts or config.encoder_learning_rate is not None:
        raise InputError(
            "A model without z has no encoder: leave freeze_encoder, encoder_learning_rate and lora of the encoder out."
        )
    if not model.config.label_names and (config.freeze_decoder or config.bottleneck_phase):
        raise InputError(
            "A model without z and labels is its decoder and no more: leave freeze_decoder and bottleneck_phase out."
        )


def joining_parameters(model: TextVAEModel) -> list[nn.Parameter]:
    """The trainable parameters of encoder and decoder, which the bottleneck phase holds back."""
    return [p for name, p in model.named_parameters() if p.requires_grad and name.partition(".")[0] in PARTS]


def checkpoint_activations(model: TextVAEModel) -> None:
    """Let layers recompute their activations in the backward pass instead of keeping them.

    Raises:
        InputError: if no layer can, as in a model without transformers.
    """
    if not checkpointing_layers(model):
        raise InputError("gradient_checkpointing is for transformers, and this model has none: leave it out.")
    enable_checkpointing(model)
    for name in model.config.frozen_parts:
        for layer in checkpointing_layers(model.get_submodule(name)):
            # Nothing goes back through a frozen encoder.
            set_checkpointing(layer, name == "decoder", partial(_checkpoint_at_rest, layer))


def _checkpoint_at_rest(layer: nn.Module, function, *inputs):
    """Checkpoint a frozen layer without dropout: its training mode means only that it recomputes."""

    def at_rest(*inputs) -> torch.Tensor | tuple:
        layer.training = False
        try:
            return function(*inputs)
        finally:
            layer.training = True

    return checkpoint(at_rest, *inputs, use_reentrant=False)

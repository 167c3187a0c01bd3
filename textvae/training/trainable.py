"""What of a model is trained, and what stays as it was opened: frozen parts, adapters, a phase of the bottleneck alone.

The bottleneck, which is always trained, is all that is neither in the encoder nor in the decoder: the maps to and from
z, and the vectors of labels.
"""

from functools import partial

import torch
import transformers
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from textvae.errors import InputError
from textvae.modeling.adapters import add_adapters
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import new_base
from textvae.modeling.pretrained import cast_weights
from textvae.training.config import TrainingConfig

PARTS = ("encoder", "decoder")


def choose_trained(model: TextVAEModel, config: TrainingConfig) -> None:
    """Freeze what the config says, add its adapters, and note in the model's config where the frozen weights come from.

    Raises:
        InputError: if nothing would be left to train, a setting is for an encoder and the model has none, or it has
            adapters already.
    """
    before = model.config.base or {}
    _check(model, config, before)
    if before:
        model.requires_grad_(True)
    if model.to_bag_of_words is not None and not config.bag_of_words_weight:
        model.to_bag_of_words.requires_grad_(False)  # several processes wait for a gradient of all that is trained
    base = {}
    for name in config.untrained_parts:
        origin = before.get(name) or new_base(config.origin_of(name), name)
        part = model.get_submodule(name).requires_grad_(False)
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
    """What is trained of encoder and decoder, and joins the bottleneck after a phase of its own."""
    return [p for name, p in model.named_parameters() if p.requires_grad and name.partition(".")[0] in PARTS]


def checkpoint_activations(model: TextVAEModel) -> None:
    """Layers compute their activations again in the backward pass, where there is one, instead of keeping them.

    Raises:
        InputError: if no layer can, as where all there is is a GRU.
    """
    if not any(isinstance(layer, GradientCheckpointingLayer) for layer in model.modules()):
        raise InputError("gradient_checkpointing is for transformers, and this model has none: leave it out.")
    # Recomputed this way, a layer whose input has no gradient still gives one to its own weights.
    how = {"use_reentrant": False}
    # By the name it has in the installed transformers: the old one warns since 5.23 and goes with 6.
    if tuple(int(number) for number in transformers.__version__.split(".")[:2]) >= (5, 23):
        model.activation_checkpointing_enable(how)
    else:
        model.gradient_checkpointing_enable(how)
    model.disable_input_require_grads()  # which would have a frozen encoder keep its activations
    for name in model.config.frozen_parts:
        for layer in model.get_submodule(name).modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.gradient_checkpointing = name == "decoder"  # nothing goes back through a frozen encoder
                layer._gradient_checkpointing_func = partial(_checkpoint_at_rest, layer)


def _checkpoint_at_rest(layer: nn.Module, function, *inputs):
    """Of a frozen layer, whose flag for training means here only that it recomputes: it is free of dropout."""

    def at_rest(*inputs) -> torch.Tensor | tuple:
        layer.training = False
        try:
            return function(*inputs)
        finally:
            layer.training = True

    return checkpoint(at_rest, *inputs, use_reentrant=False)

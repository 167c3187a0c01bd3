"""LoRA adapters (Hu et al. 2022) on the linear layers of an encoder or decoder: adding and merging them with peft.

Only these functions need peft; a model without adapters is opened, trained and saved without it.
"""

import warnings
from copy import deepcopy

import torch
from torch import nn
from transformers import PreTrainedModel

from textvae.errors import InputError

LORA_MARK = ".lora_"  # in the name of every adapter weight


def _peft():
    try:
        import peft
    except ImportError as error:
        raise InputError("Adapters need the package peft: pip install 'textvae[lora]'.") from error
    return peft


def add_adapters(part: PreTrainedModel, rank: int, alpha: float, dropout: float) -> None:
    """Add an adapter in fp32 to each linear layer except the head, and freeze all other weights.

    A new adapter does not change the output: B is 0 in W + alpha / rank · B A.

    Raises:
        InputError: if peft is not installed, or the part has no linear layer.
    """
    peft = _peft()
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=dropout,
        target_modules="all-linear",
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="peft")  # about settings that peft then corrects itself
            peft.inject_adapter_in_model(config, part)
    except ValueError as error:
        raise InputError(
            f"The {part.config.model_type} has no linear layers for adapters: leave it out of lora."
        ) from error
    part.requires_grad_(False)
    for name, parameter in part.named_parameters():
        if LORA_MARK in name:
            parameter.data = parameter.data.float()  # in bf16, rounding would swallow small steps
            parameter.requires_grad_(True)


@torch.no_grad()
def merged(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in fp32 with the adapters merged into the weights; it needs no base model any more.

    Raises:
        InputError: if a part is quantized, since adapters cannot be merged into quantized weights.
    """
    base = model.config.base or {}
    if any(entry["quantization"] != "none" for entry in base.values()):
        raise InputError("A quantized decoder cannot be merged: open the model with dtype float32 first.")
    model = deepcopy(model).float().requires_grad_(True)
    for part, entry in base.items():
        if entry["lora"] is not None:
            _merge(model.get_submodule(part))
    model.config.base = None
    return model


def _merge(part: nn.Module) -> None:
    layer_kind = _peft().tuners.lora.LoraLayer
    for name, layer in list(part.named_modules()):
        if isinstance(layer, layer_kind):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(part.get_submodule(parent), child, layer.get_base_layer())
    del part.peft_config

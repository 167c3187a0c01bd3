"""Low-rank adapters (LoRA, Hu et al. 2022) of peft on the linear layers of an encoder or decoder, and merging them.

Only what is called here needs peft: a model without adapters is opened, trained and saved without it.
"""

import warnings
from copy import deepcopy

import torch
from torch import nn
from transformers import PreTrainedModel

from textvae.errors import InputError

LORA_MARK = ".lora_"  # in the name of each weight of an adapter


def _peft():
    try:
        import peft
    except ImportError as error:
        raise InputError("Adapters need the package peft: pip install 'textvae[lora]'.") from error
    return peft


def add_adapters(part: PreTrainedModel, rank: int, alpha: float, dropout: float) -> None:
    """Put an adapter, in fp32, on each linear layer but the head; all that was there before is frozen.

    They change no output at first: B is 0 in W + alpha / rank · B A.

    Raises:
        InputError: if peft is not installed, or there is no such layer.
    """
    peft = _peft()
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="peft")  # of what it then sets right by itself
            peft.inject_adapter_in_model(config, part)
    except ValueError as error:
        raise InputError(
            f"The {part.config.model_type} has no linear layers that adapters could be put on: leave it out of lora."
        ) from error
    part.requires_grad_(False)
    for name, parameter in part.named_parameters():
        if LORA_MARK in name:
            parameter.data = parameter.data.float()  # small steps would be lost to the rounding of a bf16 part
            parameter.requires_grad_(True)


@torch.no_grad()
def merged(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in fp32 whose adapters are part of the weights, and which has no base any more.

    Raises:
        InputError: if a part is quantized, as it then has no weights to merge into.
    """
    base = model.config.base or {}
    if any(entry["quantization"] != "none" for entry in base.values()):
        raise InputError("A quantized decoder cannot be merged: open the model with dtype float32 for that.")
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

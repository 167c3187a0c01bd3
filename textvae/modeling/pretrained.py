"""Pretrained encoders and decoders, opened with every weight as it was saved."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from textvae.errors import InputError
from textvae.modeling.compat import recomputes
from textvae.modeling.families import check_decoder, check_encoder, encoder_class

_WAY_OUT = "give a directory written by save_pretrained, or the name of a model on the Hub"


# Constants that older versions of transformers saved among the weights.
_CONSTANTS = re.compile(r"(attn|attention)\.(masked_)?bias$|(position_ids|inv_freq|causal_mask)$")


@contextmanager
def named_errors(name: str, kind: str, way_out: str) -> Iterator[None]:
    """What goes wrong while the `kind` of model called `name` is opened becomes one sentence, ending in `way_out`."""
    try:
        yield
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"The weights of {name!r} are corrupt ({error}): copy or save them again.") from error
    except (OSError, ValueError, StrictDataclassError) as error:
        if not Path(name).exists():
            raise InputError(
                f"There is no directory {str(name)!r}, and the Hub gives no model of that name: {way_out}."
            ) from error
        brief = " ".join(str(error).split("\n")[:2]).strip().rstrip(".")
        raise InputError(f"No {kind} could be opened from {name!r} ({brief}): {way_out}.") from error


def load_encoder(name: str, dtype: str | torch.dtype) -> PreTrainedModel:
    """The encoder in a checkpoint by path or Hub name; heads for tasks in it, and a pooler, are left alone.

    Raises:
        InputError: if there is none, it is of no supported family, or a weight of it is missing or one too many.
    """
    with named_errors(name, "encoder", _WAY_OUT):
        config = AutoConfig.from_pretrained(name)
        check_encoder(config)
        model, report = _load(encoder_class(config), name, dtype)
    inside = {child for child, _ in model.named_children()} - {"pooler"}
    prefix = f"{model.base_model_prefix}."
    unexpected = {key for key in report["unexpected_keys"] if key.removeprefix(prefix).partition(".")[0] in inside}
    missing = {key for key in report["missing_keys"] if not key.startswith("pooler.")}
    _check_weights(name, "encoder", report | {"unexpected_keys": unexpected, "missing_keys": missing})
    return model


def load_decoder(name: str, dtype: str | torch.dtype, quantization: str = "none") -> PreTrainedModel:
    """The causal language model in a checkpoint by path or Hub name, its head included.

    Args:
        quantization: `none`, `8bit` or `4bit`, of the linear layers but the head.

    Raises:
        InputError: if there is none, it is of no supported family, or a weight of it is missing or one too many; or
            if it is to be quantized, and bitsandbytes is not installed.
    """
    options = _quantized(quantization)
    with named_errors(name, "decoder", _WAY_OUT):
        check_decoder(AutoConfig.from_pretrained(name))
        model, report = _load(AutoModelForCausalLM, name, dtype, **options)
    _check_weights(name, "decoder", report)
    if quantization != "none":
        _prepare_for_training(model)
    return model


def _quantized(kind: str) -> dict:
    """What `from_pretrained` is told, as transformers documents it."""
    if kind == "none":
        return {}
    if find_spec("bitsandbytes") is None:
        raise InputError("decoder_quantization needs the package bitsandbytes: pip install 'textvae[quantization]'.")
    if kind == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    kinds = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **kinds)}


def _prepare_for_training(model: PreTrainedModel) -> None:
    """What bitsandbytes 0.50 does not do by itself on a CPU."""
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # With AVX512-BF16 the first evaluation would repack it, and no gradient would pass through it any more.
            layer.support_avx512bf16_for_cpu = False
    # Of every layer of 8 bits, whenever it is called, that its inputs are cast.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def _load(auto_class, name: str, dtype: str | torch.dtype, **options) -> tuple[PreTrainedModel, dict]:
    options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
    return auto_class.from_pretrained(name, dtype=dtype, **options)


def _check_weights(name: str, side: str, report: dict) -> None:
    keys = {
        "missing": sorted(report["missing_keys"]),
        "unexpected": sorted(key for key in report["unexpected_keys"] if not _CONSTANTS.search(key)),
        "of another size": sorted(key for key, *_ in report["mismatched_keys"]),
    }
    if any(keys.values()):
        wrong = "; ".join(f"{what}: {_some(names)}" for what, names in keys.items() if names)
        raise InputError(
            f"The weights of the {side} {name!r} are not those of its config.json ({wrong}): give a checkpoint that "
            f"was saved whole{', with its language-model head' if side == 'decoder' else ''}."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def set_frozen_mode(part: PreTrainedModel, mode: bool) -> None:
    """A frozen part is in evaluation mode, except for what the backward pass through it asks for in training."""
    part.eval()
    for module in part.modules():
        if recomputes(module) or isinstance(module, nn.GRU):  # cuDNN's has no gradient otherwise; it has no dropout
            module.training = mode


def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """The parameters become of this dtype, and no buffer does: a checkpoint opened in it has rotary angles in fp32."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)

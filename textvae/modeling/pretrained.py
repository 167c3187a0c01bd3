"""Open pretrained encoders and decoders, and check that every weight was loaded."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from textvae.errors import InputError, require_extra
from textvae.files import brief, damaged_json
from textvae.modeling.compat import recomputes
from textvae.modeling.families import check_decoder, check_encoder, encoder_class

_WAY_OUT = "give a directory written by save_pretrained, or the name of a model on the Hub"


# Constants that older versions of transformers saved with the weights.
_CONSTANTS = re.compile(r"(attn|attention)\.(masked_)?bias$|(position_ids|inv_freq|causal_mask)$")


@contextmanager
def named_errors(name: str, kind: str, way_out: str) -> Iterator[None]:
    """Turn errors while a `kind` of model is opened into an InputError that says `name` and ends with `way_out`."""
    try:
        yield
    except InputError as error:
        if str(name) in str(error):
            raise
        raise InputError(f"In {str(name)!r}: {error}") from error
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a library raises about files that hold something else than they should
        raise InputError(_what_is_wrong(str(name), kind, error, way_out)) from error


def _what_is_wrong(name: str, kind: str, error: Exception, way_out: str) -> str:
    """One sentence about an error while a `kind` of model was opened from `name`."""
    if isinstance(error, SafetensorError):
        return f"The weights of {name!r} are corrupt ({shorten(str(error), 150)}): copy or save them again."
    if not Path(name).exists():
        return f"There is no directory {name!r}, and no such model could be loaded from the Hub: {way_out}."
    if "trust_remote_code" in str(error):
        return f"The {kind} of {name!r} needs program code of its own, and textvae runs no such code: {way_out}."
    if (file := damaged_json(Path(name))) is not None:
        return f"No {kind} could be opened from {name!r} ({file} is not a valid JSON object): {way_out}."
    return f"No {kind} could be opened from {name!r} ({brief(error)}): {way_out}."


def load_encoder(name: str, dtype: str | torch.dtype) -> PreTrainedModel:
    """Open the encoder of a checkpoint, by path or Hub name; weights of task heads and of a pooler are not checked.

    Raises:
        InputError: if there is no encoder, its family is not supported, or one of its weights is missing, unexpected
            or of another size.
    """
    with named_errors(name, "encoder", _WAY_OUT):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        check_encoder(config)
        model, report = _load(encoder_class(config), name, dtype)
    inside = {child for child, _ in model.named_children()} - {"pooler"}
    prefix = f"{model.base_model_prefix}."
    unexpected = {key for key in report["unexpected_keys"] if key.removeprefix(prefix).partition(".")[0] in inside}
    missing = {key for key in report["missing_keys"] if not key.startswith("pooler.")}
    _check_weights(name, "encoder", report | {"unexpected_keys": unexpected, "missing_keys": missing})
    return model


def load_decoder(name: str, dtype: str | torch.dtype, quantization: str = "none") -> PreTrainedModel:
    """Open the causal language model of a checkpoint, by path or Hub name, with its language-model head.

    Args:
        quantization: `none`, `8bit` or `4bit`, for all linear layers except the head.

    Raises:
        InputError: if there is no such model, its family is not supported, one of its weights is missing, unexpected
            or of another size, or quantization is asked for without bitsandbytes.
    """
    options = _quantized(quantization)
    with named_errors(name, "decoder", _WAY_OUT):
        check_decoder(AutoConfig.from_pretrained(name, trust_remote_code=False))
        model, report = _load(AutoModelForCausalLM, name, dtype, **options)
    _check_weights(name, "decoder", report)
    if quantization != "none":
        _prepare_for_training(model)
    return model


def load_language_model(name: str) -> PreTrainedModel:
    """Open a causal language model of any family, by path or Hub name, in fp32 and to read texts only.

    Raises:
        InputError: if there is no such model, it attends to later tokens, or one of its weights is missing, unexpected
            or of another size.
    """
    with named_errors(name, "causal language model", _WAY_OUT):
        model, report = _load(AutoModelForCausalLM, name, torch.float32)
        _check_weights(name, "decoder", report)
        if _reads_ahead(model.eval()):
            raise InputError(f"{name!r} attends to later tokens: give a causal language model.")
    return model


@torch.no_grad()
def _reads_ahead(model: PreTrainedModel) -> bool:
    """Whether the first state depends on the second token, as in BERT, which opens as a causal language model, too."""
    first, other = model(input_ids=torch.tensor([[0, 1], [0, 2]])).logits[:, 0]
    return not torch.allclose(first, other, rtol=0, atol=1e-4 * float(first.abs().max()))


def _quantized(kind: str) -> dict:
    """The options of `from_pretrained` for a kind of quantization."""
    if kind == "none":
        return {}
    require_extra("bitsandbytes", "bitsandbytes", "quantization", "decoder_quantization")
    if kind == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    kinds = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **kinds)}


def _prepare_for_training(model: PreTrainedModel) -> None:
    """Let gradients pass through 4-bit layers on a CPU, and silence a repeated warning (bitsandbytes 0.50)."""
    from bitsandbytes.nn import Linear4bit  # pyright: ignore[reportMissingImports]

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # With AVX512-BF16 the first evaluation would repack the weights, and gradients would no longer pass.
            layer.support_avx512bf16_for_cpu = False  # pyright: ignore[reportArgumentType]
    # Every 8-bit layer warns at every call that its inputs are cast.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def _load(auto_class, name: str, dtype: str | torch.dtype, **options) -> tuple[PreTrainedModel, dict]:
    options |= {"ignore_mismatched_sizes": True, "output_loading_info": True, "trust_remote_code": False}
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
            f"The weights of the {side} {name!r} do not match its config.json ({wrong}): give a complete checkpoint"
            f"{', with its language-model head' if side == 'decoder' else ''}."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def set_frozen_mode(part: nn.Module, mode: bool) -> None:
    """Put a frozen part in evaluation mode, except the modules whose backward pass needs training mode."""
    part.eval()
    for module in part.modules():
        # cuDNN's GRU has gradients in training mode only, and no dropout that this would turn on.
        if recomputes(module) or isinstance(module, nn.GRU):
            module.training = mode


def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters but no buffers, as `from_pretrained` does: rotary angles stay in fp32."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)

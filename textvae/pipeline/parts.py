"""What a pipeline is made of: its model and tokenizers, checked and described, and where they can be."""

from textwrap import shorten
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from textvae.config_fields import Range, whole
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError, shown
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.vocabulary import check_match, check_positions


def check_parts(model: Any, tokenizer: Any, encoder_tokenizer: Any) -> TokenizerPair:
    """The two tokenizers; raises InputError if they are none, or not those of the model."""
    if not isinstance(model, TextVAEModel):
        raise InputError(
            f"model is of type {type(model).__name__}, it must be a TextVAEModel: open a saved one with "
            "TextVAEPipeline.from_pretrained."
        )
    for name, one in (("tokenizer", tokenizer), ("encoder_tokenizer", encoder_tokenizer)):
        if not isinstance(one, PreTrainedTokenizerBase) and (name == "tokenizer" or one is not None):
            raise InputError(f"{name} is of type {type(one).__name__}: give a tokenizer of transformers.")
    pair = TokenizerPair(tokenizer, encoder_tokenizer)
    check_match(model, pair)
    return pair


def check_max_length(max_length: Any, model: TextVAEModel) -> int:
    """The longest text in tokens; raises InputError if it is too short, or too long for the model."""
    max_length = whole("max_length", max_length, Range("at least 2, for a token and EOS", lambda value: value >= 2))
    check_positions(model, max_length)
    return max_length


def usable_device(device: str | int | torch.device) -> torch.device:
    """This device; raises InputError if there is none of that name here."""
    if not isinstance(device, str | int | torch.device):
        raise InputError(f"device is {shown(device)}, it must be the name of one, such as 'cpu' or 'cuda'.")
    try:
        usable = torch.device(device)
        torch.zeros((), device=usable).item()
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = shorten(str(error).split("\n")[0], 200).rstrip(".")
        raise InputError(f"There is no device {shown(device)} here ({reason}): give another, such as 'cpu'.") from error
    return usable


def usable_dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    """This dtype of weights, or "auto"; raises InputError for one that weights cannot have."""
    if isinstance(dtype, str) and dtype == "auto":
        return dtype
    named = vars(torch).get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if not isinstance(named, torch.dtype) or not named.is_floating_point:
        raise InputError(f"dtype is {shown(dtype)}, it must be auto, float32, bfloat16 or float16.")
    return named


def describe(model: TextVAEModel, tokenizers: TokenizerPair) -> str:
    """Size, parts, vocabulary, labels, device and dtype of a model."""
    config = model.config
    encoder = "none" if model.encoder is None else model.encoder.config.model_type
    vocabularies = [len(tokenizers.reading), len(tokenizers.decoder)][tokenizers.encoder is None :]
    values = {
        "parameters": f"{model.num_parameters():,}",
        "encoder": encoder,
        "decoder": model.decoder.config.model_type,
        "latent_size": config.latent_size,
        "latent_injection": "+".join(config.latent_injection) or "none",
        "vocabulary": " and ".join(f"{size:,}" for size in vocabularies),
        "max_length": tokenizers.max_length,
    }
    if config.label_names:
        values["labels"] = shown(config.label_names)
    values |= {"device": model.device, "dtype": str(model.dtype).removeprefix("torch.")}
    return ", ".join(f"{name}={value}" for name, value in values.items())

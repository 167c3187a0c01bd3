"""Open a saved text VAE with every weight as it was saved, or say in one sentence why not."""

import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from textvae.configuration import TextVAEConfig
from textvae.errors import InputError
from textvae.modeling import TextVAEModel
from textvae.parts import named_errors


def load_model(name: str, dtype: str | torch.dtype) -> TextVAEModel:
    """A text VAE by directory or Hub name, in safetensors, with neither a weight missing nor one too many.

    Raises:
        InputError: if there is none, it is of another kind, or its weights are corrupt or not those of its config.
    """
    way_out = "give a directory written by save_pretrained, or the name of a text VAE on the Hub"
    with named_errors(name, "text VAE", way_out):
        config = AutoConfig.from_pretrained(name)
        if not isinstance(config, TextVAEConfig):
            raise InputError(f"{name!r} is a {config.model_type} model and no text VAE: {way_out}.")
        options = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
        model, report = TextVAEModel.from_pretrained(name, config=config, dtype=dtype, **options)
    unsure = sorted(report["missing_keys"] | report["unexpected_keys"] | {key for key, *_ in report["mismatched_keys"]})
    if unsure:
        raise InputError(
            f"{len(unsure)} weights of {name!r}, {unsure[0]} for one, are not those of its config.json: copy or save "
            "both again, together."
        )
    return model


def check_match(
    model: TextVAEModel, tokenizer: PreTrainedTokenizerBase, encoder_tokenizer: PreTrainedTokenizerBase | None = None
) -> None:
    """Raises InputError if the tokenizers, of which the encoder may have its own, are not those of the model."""
    if model.encoder is not None:
        _check_vocabulary(model.encoder, encoder_tokenizer or tokenizer)
    _check_vocabulary(model.decoder, tokenizer)
    ends = model.config.eos_token_id
    if tokenizer.eos_token_id not in (ends if isinstance(ends, list) else [ends]):
        raise InputError(
            f"Texts end with token {tokenizer.eos_token_id} in the tokenizer and with {ends} in the model: give the "
            "tokenizer it was trained with, or set the model's eos_token_id."
        )


def _check_vocabulary(part: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    vocab_size = part.get_input_embeddings().num_embeddings
    if len(tokenizer) > vocab_size:
        sizes = f"{len(tokenizer)} tokens and the {part.config.model_type} {vocab_size}"
        raise InputError(f"The tokenizer has {sizes}: give the tokenizer it was trained with.")

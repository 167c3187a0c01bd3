"""Open a text VAE: a saved one, or two pretrained parts, with every weight as it was saved, or one sentence why not."""

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from textvae.errors import InputError
from textvae.modeling.adapters import add_adapters
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import check_base, weight_files
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.pretrained import load_decoder, load_encoder, named_errors
from textvae.modeling.vocabulary import add_tokens, make_room, special_ids

_WAY_OUT = "give a directory written by save_pretrained, or the name of a text VAE on the Hub"


def load_model(
    name: str, dtype: str | torch.dtype, dropout: dict[str, dict[str, float | bool]] | None = None
) -> TextVAEModel:
    """A text VAE by directory or Hub name, in safetensors, with neither a weight missing nor one too many.

    One that was trained on top of weights that were not saved with it gets these from where they are.

    Args:
        dtype: of all weights; "auto" keeps the one they were saved in, and a quantized decoder quantized.
        dropout: part → settings of its dropout that replace the saved ones, where it has such settings; of a model
            that was trained on top of other weights they stay.

    Raises:
        InputError: if there is none, it is of another kind, or its weights are corrupt or not those of its config; or
            if what it was trained on is missing or has changed.
    """
    with named_errors(name, "text VAE", _WAY_OUT):
        config = AutoConfig.from_pretrained(name)
        if not isinstance(config, TextVAEConfig):
            raise InputError(f"{name!r} is a {config.model_type} model and no text VAE: {_WAY_OUT}.")
        if config.base is not None:
            return _on_base(name, config, dtype)
        for part, settings in (dropout or {}).items():
            _set_known(getattr(config, part), settings)
        options = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
        model, report = TextVAEModel.from_pretrained(name, config=config, dtype=dtype, **options)
    _refuse(name, report["missing_keys"] | report["unexpected_keys"] | {key for key, *_ in report["mismatched_keys"]})
    return model


def _set_known(config: PreTrainedConfig, settings: dict) -> None:
    for name, value in settings.items():
        if hasattr(config, name):
            setattr(config, name, value)


def _refuse(name: str, unsure: set[str], those: str = "of its config.json") -> None:
    if unsure:
        raise InputError(
            f"{len(unsure)} weights of {name!r}, {min(unsure)} for one, are not those {those}: copy or save both "
            "again, together."
        )


def _on_base(name: str, config: TextVAEConfig, dtype: str | torch.dtype) -> TextVAEModel:
    """What was trained, in fp32 unless told otherwise, on top of what was not."""
    if dtype != "auto":
        dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        held = {"dtype": str(dtype).removeprefix("torch."), "quantization": "none"}
        config.base = {part: entry | held for part, entry in config.base.items()}
    parts = {}
    for part, entry in config.base.items():
        check_base(entry, part, name)
        size = {"encoder": config.encoder, "decoder": config.decoder}[part].vocab_size
        parts[part] = _open_part(part, entry, size).requires_grad_(False)
        if entry["lora"] is not None:
            add_adapters(parts[part], **entry["lora"])
    model = TextVAEModel(config, **parts)
    _take(model, {key: weight for file in weight_files(name) for key, weight in load_file(file).items()}, name)
    return model.eval() if dtype == "auto" else model.cast(dtype).eval()


def _open_part(part: str, entry: dict, vocab_size: int) -> PreTrainedModel:
    """The encoder or decoder of a base, which may be a text VAE; with an EOS if it was given one."""
    base, dtype = entry["name_or_path"], getattr(torch, entry["dtype"])
    if isinstance(AutoConfig.from_pretrained(base), TextVAEConfig):
        return load_model(base, dtype).get_submodule(part)
    opened = load_encoder(base, dtype) if part == "encoder" else load_decoder(base, dtype, entry["quantization"])
    rows = opened.get_input_embeddings().num_embeddings
    if rows + 1 == vocab_size:
        add_tokens(opened, {rows: []})
    return opened


def _take(model: TextVAEModel, saved: dict[str, Tensor], name: str) -> None:
    """Put in what was trained; of weights that are tied one is saved for all."""
    wanted = {key: weight for key, weight in model.state_dict().items() if not model.is_of_base(key)}
    there = {wanted[key].data_ptr() for key in saved.keys() & wanted.keys()}
    wrong = {key for key, weight in wanted.items() if weight.data_ptr() not in there} | saved.keys() - wanted.keys()
    wrong |= {key for key in saved.keys() & wanted.keys() if saved[key].shape != wanted[key].shape}
    _refuse(name, wrong, "of its config.json and its base")
    model.load_state_dict(saved, strict=False)


def join_parts(
    encoder: str | PreTrainedConfig,
    decoder: str | PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    encoder_dtype: torch.dtype = torch.float32,
    decoder_dtype: torch.dtype = torch.float32,
    quantization: str = "none",
    decoder_learns: bool = True,
    **bottleneck,
) -> TextVAEModel:
    """A pretrained encoder and decoder, by name or path, joined by a new bottleneck in fp32.

    A part that is trained should be in fp32, too, whatever it was saved in: small steps would be lost to rounding.
    A part that has no embedding for the EOS its tokenizer was given gets one, the mean of the others; a decoder only
    where it is to be trained, as this EOS would never be the likeliest token.

    Args:
        encoder, decoder: or the config of a new one.
        tokenizer: the decoder's, and the encoder's too unless `encoder_tokenizer` is given.
        quantization: of the decoder, as [`load_decoder`] takes it.
        decoder_learns: whether its own weights will be trained.
        bottleneck: of [`TextVAEConfig`].

    Raises:
        InputError: if a part cannot be opened, its tokenizer has more tokens than it has embeddings, or the decoder has
            no EOS and will not learn one.
    """
    parts = {"encoder": encoder, "decoder": decoder}
    if isinstance(encoder, str):
        parts["encoder"] = load_encoder(encoder, encoder_dtype)
        make_room(parts["encoder"], encoder_tokenizer or tokenizer, encoder)
    if isinstance(decoder, str):
        parts["decoder"] = load_decoder(decoder, decoder_dtype, quantization)
        if make_room(parts["decoder"], tokenizer, decoder) and not decoder_learns:
            raise InputError(
                f"The decoder {decoder!r} has no EOS, and has to be trained to write one: leave freeze_decoder and "
                "lora of the decoder out, or give a decoder that has one."
            )
    return TextVAEModel.from_parts(**parts, **bottleneck, **special_ids(tokenizer))

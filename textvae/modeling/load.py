"""Open a text VAE: a saved one, or two pretrained parts; with every weight as it was saved."""

from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError
from textvae.modeling.adapters import add_adapters
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import check_base
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.families import token_embeddings
from textvae.modeling.old_names import renamed
from textvae.modeling.pretrained import load_decoder, load_encoder, named_errors
from textvae.modeling.vocabulary import add_tokens, make_room, special_ids
from textvae.modeling.weight_files import check_checksums, weight_files

_WAY_OUT = "give a directory written by save_pretrained, or the name of a text VAE on the Hub"


def load_model(
    name: str, dtype: str | torch.dtype, dropout: dict[str, dict[str, float | bool]] | None = None
) -> TextVAEModel:
    """Open a text VAE in safetensors, by directory or Hub name, with no weight missing and none too many.

    The frozen weights of its base model, if it has one, come from where `base` of its config says.

    Args:
        dtype: of all weights; "auto" keeps the saved one, and a quantized decoder quantized.
        dropout: part → dropout settings that replace the saved ones, if the part has them; ignored for a model with a
            base model.

    Raises:
        InputError: if there is no such model, it is of another kind, or its weights are corrupt or not those of its
            config; or if its base model is missing, has changed, or is the model itself.
    """
    return _open(name, dtype, dropout, ())


def _open(
    name: str, dtype: str | torch.dtype, dropout: dict[str, dict[str, float | bool]] | None, above: tuple[str, ...]
) -> TextVAEModel:
    """Open a text VAE; `above` are the models that it is the base of."""
    with named_errors(name, "text VAE", _WAY_OUT):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if not isinstance(config, TextVAEConfig):
            raise InputError(f"{name!r} is a {config.model_type} model and no text VAE: {_WAY_OUT}.")
        if config.base is not None:
            return _on_base(name, config, dtype, (*above, name))
        for part, settings in (dropout or {}).items():
            _set_known(getattr(config, part), settings)
        options = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
        opened = TextVAEModel.from_pretrained(name, config=config, dtype=dtype, **options)
        model, report = cast("tuple[TextVAEModel, dict]", opened)  # a pair, as the loading info is asked for
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


def _on_base(name: str, config: TextVAEConfig, dtype: str | torch.dtype, above: tuple[str, ...]) -> TextVAEModel:
    """Open the base model and load the trained weights into it, in fp32 unless `dtype` says otherwise."""
    base = config.base or {}
    if dtype != "auto":
        dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        held = {"dtype": str(dtype).removeprefix("torch."), "quantization": "none"}
        base = config.base = {part: entry | held for part, entry in base.items()}
    parts = {}
    for part, entry in base.items():
        check_base(entry, part, name)
        size = {"encoder": config.encoder_config, "decoder": config.decoder_config}[part].vocab_size
        parts[part] = _open_part(part, entry, size, above).requires_grad_(False)
        if entry["lora"] is not None:
            add_adapters(parts[part], **entry["lora"])
    model = TextVAEModel(config, **parts)
    files = weight_files(name)
    _take(model, {key: weight for file in files for key, weight in load_file(file).items()}, name)
    check_checksums(name, files)
    return model.cast(dtype).eval() if isinstance(dtype, torch.dtype) else model.eval()


def _open_part(part: str, entry: dict, vocab_size: int, above: tuple[str, ...]) -> PreTrainedModel:
    """Open one part of a base model, which may be a text VAE; with an embedding for EOS if it was given one."""
    base, dtype = entry["name_or_path"], getattr(torch, entry["dtype"])
    if Path(base).resolve() in [Path(name).resolve() for name in above]:
        raise InputError(
            f"The base model of {above[-1]!r} is {base!r}, which is itself or needs it: write the right place into "
            "`base` of config.json."
        )
    if isinstance(AutoConfig.from_pretrained(base, trust_remote_code=False), TextVAEConfig):
        return _open(base, dtype, None, above).part(part)
    opened = load_encoder(base, dtype) if part == "encoder" else load_decoder(base, dtype, entry["quantization"])
    rows = token_embeddings(opened).num_embeddings
    if rows + 1 == vocab_size:
        add_tokens(opened, {rows: []})
    return opened


def _take(model: TextVAEModel, saved: dict[str, Tensor], name: str) -> None:
    """Load the trained weights, of which tied ones are saved once."""
    saved = {renamed(key): weight for key, weight in saved.items()}
    wanted = {key: weight for key, weight in model.state_dict().items() if not model.is_of_base(key)}
    there = {wanted[key].data_ptr() for key in saved.keys() & wanted.keys()}
    wrong = {key for key, weight in wanted.items() if weight.data_ptr() not in there} | saved.keys() - wanted.keys()
    wrong |= {key for key in saved.keys() & wanted.keys() if saved[key].shape != wanted[key].shape}
    _refuse(name, wrong, "of its config.json and its base")
    model.load_state_dict(saved, strict=False)


def join_parts(
    encoder: str | PreTrainedConfig,
    decoder: str | PreTrainedConfig,
    tokenizers: TokenizerPair,
    *,
    encoder_dtype: torch.dtype = torch.float32,
    decoder_dtype: torch.dtype = torch.float32,
    quantization: str = "none",
    decoder_learns: bool = True,
    **bottleneck,
) -> TextVAEModel:
    """Join a pretrained encoder and decoder, by name or path, by a new bottleneck in fp32.

    A trainable part should be in fp32, too, whatever it was saved in: small steps would be lost to rounding. A part
    without an embedding for the EOS of its tokenizer gets one, the mean of the others; but not a frozen decoder, for
    which this EOS would never be the likeliest token.

    Args:
        encoder, decoder: or the config of a new one.
        quantization: of the decoder, as [`load_decoder`] takes it.
        decoder_learns: whether the decoder's own weights will be trained.
        bottleneck: arguments of [`TextVAEConfig`].

    Raises:
        InputError: if a part cannot be opened, its tokenizer has more tokens than it has embeddings, or the decoder has
            no EOS and will not learn one.
    """
    parts: dict[str, PreTrainedModel | PreTrainedConfig] = {}
    if isinstance(encoder, str):
        parts["encoder"] = load_encoder(encoder, encoder_dtype)
        make_room(parts["encoder"], tokenizers.reading, encoder)
    else:
        parts["encoder"] = encoder
    if not isinstance(decoder, str):
        parts["decoder"] = decoder
    else:
        parts["decoder"] = load_decoder(decoder, decoder_dtype, quantization)
        if make_room(parts["decoder"], tokenizers.decoder, decoder) and not decoder_learns:
            raise InputError(
                f"The decoder {decoder!r} has no EOS, and has to be trained to write one: leave freeze_decoder and "
                "lora of the decoder out, or give a decoder that has one."
            )
    return TextVAEModel.from_parts(**parts, **bottleneck, **special_ids(tokenizers.decoder))

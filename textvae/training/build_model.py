"""The model of a run: new, joined from pretrained parts, or a saved one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import shorten

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from textvae.config_fields import nearest
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.load import join_parts
from textvae.modeling.vocabulary import check_positions, special_ids
from textvae.training.checks import PARTS
from textvae.training.config import BOTTLENECK, TrainingConfig
from textvae.training.fine_tuning import load_saved
from textvae.training.trainable import choose_trainable


def build_model(config: TrainingConfig, tokenizers: TokenizerPair, label_names: Sequence[str] = ()) -> TextVAEModel:
    """The model to train, for texts of at most `tokenizers.max_length` tokens.

    Args:
        label_names: the labels of the corpus; a saved model must know them.
    """
    if config.model_name_or_path is not None:
        model = load_saved(config, tokenizers, label_names)
    elif config.has_pretrained_parts:
        model = _model_of_parts(config, tokenizers, _bottleneck(config, label_names))
    else:
        model = _new_model(config, tokenizers, _bottleneck(config, label_names))
    check_positions(model, tokenizers.max_length)
    if config.attn_implementation is not None:
        _choose_attention(model, config.attn_implementation)
    choose_trainable(model, config)
    model.config.trained_with_noise |= config.input_noise.is_read
    return model


def _choose_attention(model: TextVAEModel, implementation: str) -> None:
    try:
        for part in (model.encoder, model.decoder):
            if part is not None and part.config.model_type != "gru":  # which has none
                part.set_attn_implementation(implementation)
    except (ImportError, OSError, ValueError) as error:
        raise InputError(
            f"attn_implementation {implementation!r} cannot be had here ({shorten(str(error), 200)}): leave it out, or "
            "give eager or sdpa."
        ) from error


def _new_model(config: TrainingConfig, tokenizers: TokenizerPair, bottleneck: dict) -> TextVAEModel:
    ids = special_ids(tokenizers.decoder)
    shared = {"vocab_size": len(tokenizers.decoder), **ids}
    with _named_mistakes():
        model_config = TextVAEConfig(
            encoder=shared | config.encoder, decoder=shared | config.decoder, **bottleneck, **ids
        )
        _check_names("encoder", config.encoder, model_config.encoder_config)
        _check_names("decoder", config.decoder, model_config.decoder_config)
        return TextVAEModel(model_config)


def _model_of_parts(config: TrainingConfig, tokenizers: TokenizerPair, bottleneck: dict) -> TextVAEModel:
    with _named_mistakes():
        encoder, decoder = (config.origin_of(part) or _new_part(config, part, tokenizers) for part in PARTS)
        return join_parts(
            encoder,
            decoder,
            tokenizers,
            encoder_dtype=config.dtype_of("encoder"),
            decoder_dtype=config.dtype_of("decoder"),
            quantization=config.decoder_quantization,
            decoder_learns="decoder" not in config.untrained_parts,
            **bottleneck | {"tie_encoder_embeddings": False},
        )


def _new_part(config: TrainingConfig, part: str, tokenizers: TokenizerPair) -> PreTrainedConfig:
    """The config of the one part that is not pretrained."""
    vocab_size = max(tokenizers.decoder.get_vocab().values()) + 1
    given = getattr(config, part)
    made = TextVAEConfig(**{part: {"vocab_size": vocab_size, **special_ids(tokenizers.decoder)} | given})
    _check_names(part, given, getattr(made, part))
    return getattr(made, part)


@contextmanager
def _named_mistakes() -> Iterator[None]:
    """Turn an exception of transformers about the settings of a new encoder or decoder into one sentence."""
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError, StrictDataclassError) as error:
        reason = shorten(str(error), 200)
        raise InputError(f"No model can be built from these encoder and decoder: correct them ({reason}).") from error


def _bottleneck(config: TrainingConfig, label_names: Sequence[str]) -> dict:
    """The arguments of [`TextVAEConfig`] besides the configs of encoder and decoder."""
    rest = {"bag_of_words": config.bag_of_words_weight > 0, "label_names": list(label_names)}
    return {name: getattr(config, name) for name in BOTTLENECK} | rest


def _check_names(part: str, given: dict, config: PreTrainedConfig) -> None:
    """Raises InputError for an unknown setting, which Hugging Face's configs keep in silence."""
    known, kept = [*type(config)().to_dict(), *config.attribute_map], config.to_dict()
    for name in given:
        if name in kept and name not in known:
            raise InputError(
                f"The {part} {config.model_type} has no setting {name!r}; did you mean {nearest(name, known)!r}?"
            )


def compile_parts(model: TextVAEModel) -> None:
    """Compile encoder and decoder (`torch_compile`)."""
    for part in (model.encoder, model.decoder.base_model):
        if part is not None:
            part.compile(dynamic=True)

"""The supported model families: which can be encoder or decoder, and how they differ."""

from typing import cast

from torch import nn
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoModel,
    AutoModelForTextEncoding,
    PreTrainedConfig,
    PreTrainedModel,
)

from textvae.errors import InputError

# The tested families, by `model_type`. A causal language model can also be the encoder.
ENCODERS = (
    *("albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "eurobert"),
    *("modernbert", "mpnet", "mt5", "rembert", "roberta", "t5", "umt5", "xlm-roberta", "xlm-roberta-xl"),
)


DECODERS = (
    *("bloom", "cohere", "cohere2", "ernie4_5", "exaone4", "falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4"),
    *("gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "granite", "gru", "helium", "llama", "mistral", "mpt"),
    *("nemotron", "olmo", "olmo2", "olmo3", "opt", "phi", "phi3", "qwen2", "qwen3", "smollm3", "stablelm"),
    *("starcoder2", "xglm"),
)


def reads_ahead(config: PreTrainedConfig) -> bool:
    """Whether a state depends on later tokens, as in a bidirectional encoder, or in EmbeddingGemma."""
    values = config.to_dict()
    both_ways = values.get("use_bidirectional_attention") or values.get("is_causal") is False
    return config.model_type not in DECODERS or bool(both_ways)


def _some(families: tuple[str, ...], known: tuple[str, ...]) -> str:
    """The best-known of these families, and how many others there are."""
    return f"one of {', '.join(known)} and {len(families) - len(known)} more"


def check_encoder(config: PreTrainedConfig) -> None:
    """Raises InputError unless this family can be the encoder of a text VAE."""
    if config.model_type not in ENCODERS + DECODERS:
        why = ", as the encoder of an encoder-decoder cannot be used alone" if config.is_encoder_decoder else ""
        raise InputError(
            f"{config.model_type!r} cannot be the encoder{why}: give what AutoModelForTextEncoding or AutoModel opens, "
            f"{_some(ENCODERS, ('bert', 'roberta', 't5'))} in textvae.modeling.ENCODERS, or a causal "
            f"language model, {_some(DECODERS, ('gpt2', 'qwen2'))} in textvae.modeling.DECODERS."
        )


def check_decoder(config: PreTrainedConfig) -> None:
    """Raises InputError unless this family can be the decoder of a text VAE."""
    some = _some(DECODERS, ("gpt2", "llama", "qwen2", "gru"))
    way_out = f"give a causal language model, which AutoModelForCausalLM opens, {some} in textvae.modeling.DECODERS"
    if config.model_type not in DECODERS:
        kind = "an encoder-decoder" if config.is_encoder_decoder else "an encoder"
        why = f", as it is {kind}" if config.is_encoder_decoder or config.model_type in ENCODERS else ""
        raise InputError(f"{config.model_type!r} cannot be the decoder{why}: {way_out}.")
    if reads_ahead(config):
        raise InputError(f"This {config.model_type!r} cannot be the decoder, as it attends to later tokens: {way_out}.")


def encoder_class(config: PreTrainedConfig) -> type[AutoModel] | type[AutoModelForTextEncoding]:
    """The Auto class that builds the encoder only: for T5, `AutoModel` would also build the decoder."""
    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel


def token_embeddings(model: PreTrainedModel) -> nn.Embedding:
    """The token embeddings, for which transformers has no type."""
    return cast(nn.Embedding, model.get_input_embeddings())


def output_layer(model: PreTrainedModel) -> nn.Linear | None:
    """The layer that gives the logits, for which transformers has no type; None for an encoder."""
    return cast("nn.Linear | None", model.get_output_embeddings())


def states_size(model: PreTrainedModel) -> int:
    """The size of an encoder's states; for a causal language model, the size of its token embeddings."""
    if model.config.model_type in DECODERS:  # `hidden_size` differs in OPT 350m and in some GRUs
        return token_embeddings(model).embedding_dim
    return model.config.hidden_size


def logits_change(config: PreTrainedConfig) -> tuple[float, float | None]:
    """The scale and the softcap of a decoder's logits, as [`transform_logits`] takes them."""
    if config.model_type in ("cohere", "cohere2"):
        return config.logit_scale, None
    if config.model_type == "granite":
        return 1 / config.logits_scaling, None
    if config.model_type in ("gemma2", "gemma3_text"):
        return 1.0, config.final_logit_softcapping
    return 1.0, None


def num_positions(part: PreTrainedModel) -> int | None:
    """The maximum number of tokens of a text, or None if there is no limit."""
    name = "max_position_embeddings"
    limit = part.config.to_dict().get(part.config.attribute_map.get(name, name))
    table = getattr(getattr(part, "embeddings", None), "position_embeddings", None)
    # RoBERTa and related models number positions from padding_idx + 1.
    padding = getattr(table, "padding_idx", None)
    first = 0 if padding is None else padding + 1
    return None if limit is None else limit - first

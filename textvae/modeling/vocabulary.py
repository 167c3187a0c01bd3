"""The vocabulary of a model: its match with the tokenizers, and rows for new tokens."""

from typing import TypedDict, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from textvae.data.special_tokens import UNK, special_tokens
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.families import num_positions, output_layer, token_embeddings


class SpecialIdsOfConfig(TypedDict):
    """The special tokens that a [`TextVAEConfig`] names."""

    pad_token_id: int
    bos_token_id: int
    eos_token_id: int


def special_ids(tokenizer: PreTrainedTokenizerBase) -> SpecialIdsOfConfig:
    """The ids that a model's config takes from its decoder's tokenizer; without a BOS, texts start with EOS."""
    tokens = special_tokens(tokenizer)
    return {
        "pad_token_id": tokens.pad_token_id,
        "bos_token_id": tokens.bos_token_id if tokens.bos_token_id is not None else tokens.eos_token_id,
        "eos_token_id": tokens.eos_token_id,
    }


@torch.no_grad()
def add_tokens(part: PreTrainedModel, splits: dict[int, list[int]]) -> None:
    """Add tokens behind the old ones; their rows in embeddings, output layer and its bias are means of old rows.

    A part may have had more rows than tokens; the rows that become tokens are set as well.

    Args:
        splits: id of each new token → ids of the old tokens that it is made of; an empty list for the mean of all.
    """
    if splits and max(splits) >= token_embeddings(part).num_embeddings:
        part.resize_token_embeddings(max(splits) + 1, mean_resizing=False)
    set_to_means(token_embeddings(part).weight, splits)
    head = output_layer(part)
    if head is not None:
        set_to_means(head.weight, splits)
        if head.bias is not None:
            set_to_means(head.bias, splits)


def set_to_means(rows: Tensor, splits: dict[int, list[int]]) -> None:
    """Set the rows of new tokens in (V, H) or (V,); see [`add_tokens`]."""
    if splits:
        mean_of_all = rows[: min(splits)].mean(0)
        for index, ids in splits.items():
            rows[index] = rows[ids].mean(0) if ids else mean_of_all


def make_room(part: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """Give a part an embedding for the EOS that its tokenizer was given, if it has none; whether it was needed.

    Raises:
        InputError: if other embeddings are missing, too.
    """
    rows, needed = token_embeddings(part).num_embeddings, max(tokenizer.get_vocab().values()) + 1
    if needed <= rows:
        return False
    if needed > rows + 1 or tokenizer.eos_token_id != rows:
        raise InputError(
            f"The tokenizer has {needed} tokens and {name!r} {rows} embeddings: give the tokenizer it was trained with."
        )
    add_tokens(part, {rows: []})
    return True


def check_match(model: TextVAEModel, tokenizers: TokenizerPair) -> None:
    """Raises InputError if the tokenizers are not those of the model."""
    if model.encoder is not None:
        _check_vocabulary(model.encoder, tokenizers.reading)
    _check_vocabulary(model.decoder, tokenizers.decoder)
    ends = model.config.eos_token_id
    end = tokenizers.decoder.eos_token_id
    if end not in (ends if isinstance(ends, list) else [ends]):
        raise InputError(
            f"Texts end with token {end} in the tokenizer and with {ends} in the model: give the "
            "tokenizer it was trained with, or set the model's eos_token_id."
        )


def check_positions(model: TextVAEModel, max_length: int) -> None:
    """Raises InputError if a part has too few positions for texts of `max_length` tokens."""
    for part, length in ((model.encoder, 0), (model.decoder, model.config.prefix_length)):
        if part is not None and (limit := num_positions(part)) is not None and max_length + length > limit:
            raise InputError(
                f"The {part.config.model_type} has {limit} positions, too few for max_length {max_length} + {length}: "
                "lower max_length or raise max_position_embeddings."
            )


def _check_vocabulary(part: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    lacking = [name for name in ("eos_token", "pad_token") if getattr(tokenizer, name) is None]
    if lacking:
        raise InputError(
            f"The tokenizer of the {part.config.model_type} has no {' and no '.join(lacking)}: set it, to its "
            "sep_token where it has one."
        )
    vocab_size = token_embeddings(part).num_embeddings
    if len(tokenizer) > vocab_size:
        sizes = f"{len(tokenizer)} tokens and the {part.config.model_type} {vocab_size}"
        raise InputError(f"The tokenizer has {sizes}: give the tokenizer it was trained with.")


# the model


@torch.no_grad()
def extend_model(model: TextVAEModel, old: TokenizerPair, new: TokenizerPair) -> None:
    """Give the model rows for the tokens that the `new` tokenizers have behind the `old` ones, which are its own.

    The row of a new piece, in all embeddings, output layers and biases, is the mean of the rows of the pieces that the
    old tokenizer splits it into. The row of an unknown word is the mean of all rows: a softmax that was sure of
    `<unk>` is then not shared out among copies of it, and no mean takes more than the mean probability (Hewitt 2021).
    """
    splits = _new_splits(old.decoder, new.decoder)
    add_tokens(model.decoder, splits)
    model.config.decoder_config.vocab_size = model.decoder.config.vocab_size
    if model.to_bag_of_words is not None and splits:
        model.to_bag_of_words[-1] = _extended(cast(nn.Linear, model.to_bag_of_words[-1]), splits)
    if model.encoder is not None:
        add_tokens(model.encoder, _new_splits(old.reading, new.reading))
        model.config.encoder_config.vocab_size = model.encoder.config.vocab_size
    if model.config.tie_encoder_embeddings:
        model.tie_weights()


def _new_splits(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> dict[int, list[int]]:
    """Id of each new piece → the ids that the old tokenizer splits it into; an empty list if it does not know it."""
    last, unknown = max(old.get_vocab().values()), old.convert_tokens_to_ids(UNK)
    pieces = sorted((index, piece) for piece, index in new.get_vocab().items() if index > last)
    fast = cast(PreTrainedTokenizerFast, old)  # no other kind grows
    splits = {index: [part.id for part in fast.backend_tokenizer.model.tokenize(piece)] for index, piece in pieces}
    return {index: [] if unknown in ids else ids for index, ids in splits.items()}


def _extended(layer: nn.Linear, splits: dict[int, list[int]]) -> nn.Linear:
    longer = nn.Linear(layer.in_features, max(layer.out_features, max(splits) + 1))
    for new, old in ((longer.weight, layer.weight), (longer.bias, layer.bias)):
        new[: len(old)] = old
        set_to_means(new, splits)
    return longer

"""The vocabulary of a model: its match with the tokenizers, and rows for new tokens."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textvae.data.special_tokens import UNK
from textvae.data.tokenizer_pair import Pair
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel


def special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """What a model must know of its decoder's tokenizer; texts start with EOS where there is no BOS."""
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


@torch.no_grad()
def add_tokens(part: PreTrainedModel, splits: dict[int, list[int]]) -> None:
    """New tokens behind the old ones: their rows in embeddings, output layer and its bias are means of old rows.

    A part may have more rows than it had tokens; those that become a token are set all the same.

    Args:
        splits: by the id of each new token, those of the old ones that it is made of; none for the mean of all.
    """
    if splits and max(splits) >= part.get_input_embeddings().num_embeddings:
        part.resize_token_embeddings(max(splits) + 1, mean_resizing=False)
    set_to_means(part.get_input_embeddings().weight, splits)
    head = part.get_output_embeddings()
    if head is not None:
        set_to_means(head.weight, splits)
        if head.bias is not None:
            set_to_means(head.bias, splits)


def set_to_means(rows: Tensor, splits: dict[int, list[int]]) -> None:
    """In (V, H) or (V,), what `add_tokens` does to a layer."""
    if splits:
        mean_of_all = rows[: min(splits)].mean(0)
        for index, ids in splits.items():
            rows[index] = rows[ids].mean(0) if ids else mean_of_all


def make_room(part: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """Whether the tokenizer was given an EOS that the part must be given too; whatever else it lacks is an error."""
    rows, needed = part.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values()) + 1
    if needed <= rows:
        return False
    if needed > rows + 1 or tokenizer.eos_token_id != rows:
        raise InputError(f"The tokenizer has {needed} tokens and {name!r} {rows} embeddings: give the tokenizer it "
                         "was trained with.")  # fmt: skip
    add_tokens(part, {rows: []})
    return True


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
    lacking = [name for name in ("eos_token", "pad_token") if getattr(tokenizer, name) is None]
    if lacking:
        raise InputError(
            f"The tokenizer of the {part.config.model_type} has no {' and no '.join(lacking)}: set it, to its "
            "sep_token where it has one."
        )
    vocab_size = part.get_input_embeddings().num_embeddings
    if len(tokenizer) > vocab_size:
        sizes = f"{len(tokenizer)} tokens and the {part.config.model_type} {vocab_size}"
        raise InputError(f"The tokenizer has {sizes}: give the tokenizer it was trained with.")


# the model


@torch.no_grad()
def extend_model(model: TextVAEModel, old: Pair, new: Pair) -> None:
    """Give the model rows for what the `new` tokenizers have behind the `old` ones, which are its own.

    The row of a new piece, in all embeddings, output layers and biases, is the mean of the rows of the pieces that the
    old tokenizer splits it into. That of a word it does not know is the mean of all, so that a softmax that was sure of
    `<unk>` is not shared out among its copies; no mean takes more than the mean probability (Hewitt 2021).
    """
    splits = _new_splits(old[0], new[0])
    add_tokens(model.decoder, splits)
    model.config.decoder.vocab_size = model.decoder.config.vocab_size
    if model.to_bag_of_words is not None and splits:
        model.to_bag_of_words[-1] = _extended(model.to_bag_of_words[-1], splits)
    if model.encoder is not None:
        add_tokens(model.encoder, _new_splits(old[1] or old[0], new[1] or new[0]))
        model.config.encoder.vocab_size = model.encoder.config.vocab_size


def _new_splits(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> dict[int, list[int]]:
    """By the id of each new piece, the ids that the old tokenizer splits it into; none if it does not know it."""
    last, unknown = max(old.get_vocab().values()), old.convert_tokens_to_ids(UNK)
    pieces = sorted((index, piece) for piece, index in new.get_vocab().items() if index > last)
    splits = {index: [part.id for part in old.backend_tokenizer.model.tokenize(piece)] for index, piece in pieces}
    return {index: [] if unknown in ids else ids for index, ids in splits.items()}


def _extended(layer: nn.Linear, splits: dict[int, list[int]]) -> nn.Linear:
    longer = nn.Linear(layer.in_features, max(layer.out_features, max(splits) + 1))
    for new, old in ((longer.weight, layer.weight), (longer.bias, layer.bias)):
        new[: len(old)] = old
        set_to_means(new, splits)
    return longer

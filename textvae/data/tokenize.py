"""Texts in, tokens out: a corpus as ids, in memory-mapped Arrow or as a stream."""

import logging
from collections.abc import Sequence

from datasets import Dataset, Features, IterableDataset, Value
from datasets import Sequence as ListOf
from transformers import PreTrainedTokenizerBase

from textvae.data.labels import number_labels
from textvae.data.special_tokens import leading_token
from textvae.errors import InputError

logger = logging.getLogger(__name__)


def tokenize_corpus(
    dataset: Dataset | IterableDataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    num_proc: int | None = None,
    encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    label_names: Sequence[str] = (),
) -> Dataset | IterableDataset:
    """Add the columns `input_ids` (at most `max_length` ids, the last one EOS) and `length` to a dataset of `text`.

    Where what is decoded is not what is encoded, because there is a column `target` or `encoder_tokenizer` reads other
    tokens, it gets a column `labels` too: the ids of `target`, else of `text`, as the decoder is to write them, at most
    `max_length`, without a BOS or CLS in front and with EOS behind. With `label_names`, which a stream cannot have, it
    gets a column `label_id`: the place among them of what the column `label` says. Whatever the dataset called `labels`
    or `label_id` is left out.

    A second run finds the result in the Arrow cache. How many texts were cut is logged once, unless streaming.

    Raises:
        InputError: if `max_length` is below 2, which leaves no room for a token and EOS, a tokenizer has no EOS, or the
            column `target` holds no texts; with `label_names` also for a column `label` that is missing, or has a gap
            or another label.
    """
    for each in (tokenizer, encoder_tokenizer):
        if each is not None and each.eos_token_id is None:
            raise InputError("The tokenizer has no eos_token: open it with load_tokenizer, or set one.")
    if max_length < 2:
        raise InputError(f"max_length is {max_length}: give 2 or more, for a token and the end of the text.")
    options = {"tokenizer": tokenizer, "max_length": max_length, "encoder_tokenizer": encoder_tokenizer}
    options = {"batched": True, "fn_kwargs": options}
    dataset = dataset.remove_columns([n for n in ("labels", "label_id") if n in (dataset.column_names or [])])
    if isinstance(dataset, IterableDataset):
        return dataset.map(tokenize, **options).remove_columns("truncated")
    ids = ListOf(Value("int32"))
    columns = {"input_ids": ids, "length": Value("int32"), "truncated": Value("bool")}
    if dataset.features.get("target", Value("string")) not in (Value("string"), Value("large_string")):
        raise InputError("The column 'target' holds no texts to decode: remove it, or rename it.")
    if "target" in dataset.column_names or encoder_tokenizer is not None:
        columns["labels"] = ids
    features = Features({**dataset.features, **columns})
    tokenized = dataset.map(tokenize, features=features, num_proc=num_proc, desc="Tokenizing", **options)
    truncated = int(tokenized.select_columns("truncated").with_format("numpy")[:]["truncated"].sum())
    if truncated:
        logger.warning("%d of %d texts were cut to %d tokens", truncated, len(tokenized), max_length)
    tokenized = tokenized.remove_columns("truncated")
    return number_labels(tokenized, label_names) if label_names else tokenized


def tokenize(
    batch: dict,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    encoder_tokenizer: PreTrainedTokenizerBase | None = None,
) -> dict:
    """What `tokenize_corpus` adds, and which texts were `truncated`, on either side."""
    ids, truncated = _encode(batch["text"], encoder_tokenizer or tokenizer, max_length)
    columns = {"input_ids": ids, "length": [len(row) for row in ids], "truncated": truncated}
    if "target" not in batch and encoder_tokenizer is None:
        return columns
    labels, cut = _encode(batch["target"] if "target" in batch else batch["text"], tokenizer, max_length)
    either = [one or other for one, other in zip(truncated, cut, strict=True)]
    return {**columns, "labels": _without_start(labels, tokenizer), "truncated": either}


def _encode(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list, list[bool]]:
    """The ids of each text, EOS last, at most so many, and whether they were more."""
    # Cut here, because a fast tokenizer that truncates changes its state, and with it the key of the Arrow cache.
    end = tokenizer.eos_token_id
    encoded = tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, verbose=False)
    ids = [row if row[-1:] == [end] else [*row, end] for row in encoded["input_ids"]]
    cut = [row if len(row) <= max_length else [*row[: max_length - 1], end] for row in ids]
    return cut, [len(row) > max_length for row in ids]


def _without_start(ids: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Without the BOS or CLS that the tokenizer puts in front."""
    first = leading_token(tokenizer)
    if first is None:
        return ids
    # More than one token, as the only one may be an EOS that is BOS too.
    return [row[1:] if row[0] == first and len(row) > 1 else row for row in ids]

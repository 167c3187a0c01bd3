"""Texts in, token ids out: a tokenized dataset in memory-mapped Arrow, or a tokenized stream."""

import logging
from collections.abc import Iterable, Sequence

from datasets import Dataset, Features, IterableDataset, Value
from datasets import Sequence as ListOf
from transformers import PreTrainedTokenizerBase

from textvae.data.labels import number_labels
from textvae.data.special_tokens import leading_token
from textvae.data.text_columns import plain
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError

logger = logging.getLogger(__name__)

_MADE_HERE = ("target_ids", "label_id", "labels")  # the last was the name of `target_ids` in older versions


def tokenize_corpus(
    dataset: Dataset | IterableDataset,
    tokenizers: TokenizerPair,
    max_length: int,
    label_names: Sequence[str] = (),
    num_proc: int | None = None,
) -> Dataset | IterableDataset:
    """Add the columns `input_ids` (at most `max_length` ids, the last one EOS) and `length` to a dataset of `text`.

    The column `target_ids` is added if the targets are not the input: because there is a column `target`, or because
    encoder and decoder have different tokenizers. It holds the token ids of `target`, or else of `text`, that the
    decoder is to write: at most `max_length`, without BOS or CLS, with EOS at the end.

    With `label_names`, which a stream cannot have, the column `label_id` is added: the place of `label` among the
    names. A column that the dataset already had under one of these names is dropped.

    A second call finds the result in the Arrow cache. The number of texts that were cut is logged once, but not for a
    stream.

    Raises:
        InputError: if `max_length` is below 2, which leaves no room for a token and EOS; if a tokenizer has no EOS; if
            the column `target` holds no texts; with `label_names` also if the column `label` is missing, has a gap or
            another label.
    """
    dataset = plain(dataset)
    _check(dataset, tokenizers, max_length)
    options = {"batched": True, "fn_kwargs": {"tokenizers": tokenizers, "max_length": max_length}}
    dataset = dataset.remove_columns([name for name in _MADE_HERE if name in (dataset.column_names or [])])
    if isinstance(dataset, IterableDataset):
        return dataset.map(tokenize, **options).remove_columns("truncated")
    ids = ListOf(Value("int32"))
    columns = {"input_ids": ids, "length": Value("int32"), "truncated": Value("bool")}
    if "target" in dataset.column_names or tokenizers.encoder is not None:
        columns["target_ids"] = ids
    features = Features({**dataset.features, **columns})
    tokenized = dataset.map(tokenize, features=features, num_proc=num_proc, desc="Tokenizing", **options)
    truncated = int(tokenized.select_columns("truncated").with_format("numpy")[:]["truncated"].sum())
    if truncated:
        logger.warning("%d of %d texts were cut to %d tokens", truncated, len(tokenized), max_length)
    tokenized = tokenized.remove_columns("truncated")
    return number_labels(tokenized, label_names) if label_names else tokenized


def _check(dataset: Dataset | IterableDataset, tokenizers: TokenizerPair, max_length: int) -> None:
    if None in (tokenizers.decoder.eos_token_id, tokenizers.reading.eos_token_id):
        raise InputError("The tokenizer has no eos_token: open it with load_tokenizer, or set one.")
    if max_length < 2:
        raise InputError(f"max_length is {max_length}: give 2 or more, for a token and the end of the text.")
    target = (dataset.features or {}).get("target", Value("string"))
    if isinstance(dataset, Dataset) and target not in (Value("string"), Value("large_string")):
        raise InputError("The column 'target' holds no texts to decode: remove it, or rename it.")


def has_targets(columns: Iterable[str], tokenizers: TokenizerPair) -> bool:
    """Whether a tokenized dataset with these columns has targets of its own; with two tokenizers it must.

    Raises:
        InputError: if it must and has none, or has them under an older name.
    """
    if "labels" in columns and "target_ids" not in columns:
        raise InputError("The column 'labels' is called 'target_ids' now: tokenize the dataset anew.")
    if "target_ids" not in columns and tokenizers.encoder is not None:
        raise InputError("The dataset has no column 'target_ids': tokenize it with both tokenizers.")
    return "target_ids" in columns


def tokenize(batch: dict, tokenizers: TokenizerPair, max_length: int) -> dict:
    """The columns that `tokenize_corpus` adds, and which texts were `truncated` in input or target."""
    ids, truncated = _encode(batch["text"], tokenizers.reading, max_length)
    columns = {"input_ids": ids, "length": [len(row) for row in ids], "truncated": truncated}
    if "target" not in batch and tokenizers.encoder is None:
        return columns
    targets, cut = _encode(batch["target" if "target" in batch else "text"], tokenizers.decoder, max_length)
    either = [one or other for one, other in zip(truncated, cut, strict=True)]
    return {**columns, "target_ids": _without_start(targets, tokenizers.decoder), "truncated": either}


def _encode(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list, list[bool]]:
    """The token ids of each text, at most `max_length` with EOS at the end, and whether it was cut."""
    # Cut here, because a fast tokenizer that truncates changes its state, and with it the key of the Arrow cache.
    end = tokenizer.eos_token_id
    encoded = tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, verbose=False)
    ids = [row if row[-1:] == [end] else [*row, end] for row in encoded["input_ids"]]
    cut = [row if len(row) <= max_length else [*row[: max_length - 1], end] for row in ids]
    return cut, [len(row) > max_length for row in ids]


def _without_start(ids: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The ids without the BOS or CLS that the tokenizer puts before a text."""
    first = leading_token(tokenizer)
    if first is None:
        return ids
    # A text of one token keeps it: it may be an EOS that is BOS, too.
    return [row[1:] if row[0] == first and len(row) > 1 else row for row in ids]

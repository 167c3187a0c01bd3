"""Inference batches: texts of similar length, the longest first, shared among the processes.

B batch · S, T lengths
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar, cast

import torch
from accelerate import PartialState
from datasets import Dataset
from torch import Tensor
from tqdm.auto import tqdm

from textvae.data.padding import padded_batch
from textvae.data.special_tokens import IGNORED, special_tokens
from textvae.data.text_columns import plain
from textvae.data.tokenize import has_targets
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.words import word_count

T = TypeVar("T")

QUIET_ROUNDS = 8  # up to so many need no progress bar


def groups(items: list[T], size: int) -> list[list[T]]:
    """Consecutive parts of `size` items; the last may have fewer."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def length_sorted_rounds(
    indices: Sequence[int],
    lengths: Sequence[int],
    batch_size: int,
    name: str,
    process_index: int = 0,
    num_processes: int = 1,
    progress: bool = True,
) -> Iterator[list[list[int]]]:
    """Batches of similar length, the longest first, so that a batch too large for memory is met at once.

    Every process gets as many rounds. A round is a list of this process's one batch; in the last round some processes
    may have none.

    Args:
        indices: of the texts to be read.
        lengths: of all texts.
        name: what a progress bar calls the work.
    """
    ordered = sorted(indices, key=lambda i: (-lengths[i], i))
    rounds = groups(groups(ordered, batch_size), num_processes)
    for each in tqdm(rounds, desc=name, leave=False, disable=not progress or len(rounds) <= QUIET_ROUNDS):
        yield list(each[process_index : process_index + 1])


def shared_rounds(
    indices: Sequence[int], lengths: Sequence[int], batch_size: int, name: str
) -> Iterator[list[list[int]]]:
    """The `length_sorted_rounds` of this process, among all that run together; the main one shows the bar."""
    state = PartialState()
    place = state.process_index, state.num_processes
    return length_sorted_rounds(indices, lengths, batch_size, name, *place, progress=state.is_main_process)


class InferenceBatches:
    """The texts of a tokenized dataset as batches; every process takes its share of them.

    Attributes:
        input_ids: token ids that the encoder reads, of each text.
        target_ids: token ids that the decoder writes, of each text, without BOS or CLS.
        label_ids: of each text, or None if the dataset has no column `label_id`.
        texts: as they are written: the column `target` where there is one, else `text`.
        lengths: in tokens, of the longer of `input_ids` and `target_ids`.
        has_targets: whether the targets are a column of their own.
    """

    def __init__(
        self,
        dataset: Dataset | Mapping[str, list],
        tokenizers: TokenizerPair,
        device: torch.device,
        batch_size: int,
    ):
        """`tokenizers` are those that made the dataset.

        Raises:
            InputError: if there are two tokenizers and no column `target_ids`.
        """
        dataset = cast(Dataset, plain(dataset)) if isinstance(dataset, Dataset) else dataset
        columns = dataset.column_names if isinstance(dataset, Dataset) else list(dataset)
        self.tokenizers, self.device, self.batch_size = tokenizers, device, batch_size
        self.input_ids = dataset["input_ids"][:]
        self.has_targets = has_targets(columns, tokenizers)
        self.target_ids = dataset["target_ids"][:] if self.has_targets else self._without_start()
        self.label_ids = dataset["label_id"][:] if "label_id" in columns else None
        self.texts = dataset["target" if "target" in columns else "text"][:]
        self.lengths = [max(map(len, pair)) for pair in zip(self.input_ids, self.target_ids, strict=True)]

    def _without_start(self) -> list[list[int]]:
        """What is read, without the BOS or CLS that the tokenizer puts before it."""
        tokens = special_tokens(self.tokenizers.decoder)
        starts = {tokens.bos_token_id, tokens.cls_token_id} - {None}
        has_start = bool(self.input_ids) and self.input_ids[0][0] in starts
        return [ids[1:] for ids in self.input_ids] if has_start else self.input_ids

    def __len__(self) -> int:
        return len(self.input_ids)

    def batches(self, indices: Sequence[int], name: str) -> Iterator[tuple[Sequence[int], dict[str, Tensor]]]:
        """(indices, batch) of every batch of this process; `indices` may be any part of the dataset."""
        return chain.from_iterable(self.rounds(indices, name))

    def rounds(self, indices: Sequence[int], name: str) -> Iterator[list[tuple[Sequence[int], dict[str, Tensor]]]]:
        """The same in rounds, as many for every process: one batch each, in the last round none for some."""
        for batches in shared_rounds(indices, self.lengths, self.batch_size, name):
            yield [(batch, self.batch(batch)) for batch in batches]

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` (B, S), `labels` (B, T) and perhaps `label_ids` (B,), on the device."""
        pad_id = special_tokens(self.tokenizers.reading).pad_token_id
        input_ids, attention_mask = padded_batch([self.input_ids[i] for i in indices], pad_id)
        labels, _ = padded_batch([self.target_ids[i] for i in indices], IGNORED)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
        if self.label_ids is not None:
            batch["label_ids"] = torch.tensor([self.label_ids[i] for i in indices])
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def num_tokens(self, indices: Sequence[int]) -> int:
        """Predicted tokens: EOS counted, BOS and CLS never."""
        return sum(len(self.target_ids[i]) for i in indices)

    def num_words(self, indices: Sequence[int]) -> int:
        """Words, plus one EOS for each text; of a text that was cut, the words that are left."""
        longest = max(map(len, self.target_ids), default=0)  # a text that was cut is as long as this
        return sum(self._num_words(i, longest) + 1 for i in indices)

    def _num_words(self, index: int, longest: int) -> int:
        words = word_count(self.texts[index])
        if len(self.target_ids[index]) < longest:
            return words
        *left, _ = self.target_ids[index]  # if it was not cut, it holds all its words
        return min(words, word_count(cast(str, self.tokenizers.decoder.decode(left))))

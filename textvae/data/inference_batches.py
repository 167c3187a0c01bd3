"""The texts of a tokenized dataset in batches, shared among the processes, and what these find, brought together.

B batch · S, T lengths
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from textvae.data.padding import check_labels, padded_batch
from textvae.data.special_tokens import IGNORED
from textvae.data.words import word_count


class Corpus:
    """The texts of a tokenized dataset as batches of similar length, this process's share of them.

    Attributes:
        ids: what is encoded, of each text.
        labels: what is decoded: `ids` without what stands in front, or where it `has_labels` that column.
        label_ids: of each text, or None where there is no column `label_id`.
        texts: as they are written, what is decoded: the column `target` where there is one, else `text`.
        lengths: in tokens, of the longer of `ids` and `labels`.
    """

    def __init__(
        self,
        dataset: Dataset | Mapping[str, list],
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device,
        batch_size: int,
        encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        """`encoder_tokenizer`, where it is not the decoder's `tokenizer`, is what made the `input_ids`.

        Raises:
            InputError: if there are two tokenizers and no `labels`.
        """
        columns = dataset.column_names if isinstance(dataset, Dataset) else list(dataset)
        self.ids = dataset["input_ids"][:]
        self.has_labels = check_labels(columns, encoder_tokenizer)
        if self.has_labels:
            self.labels = dataset["labels"][:]
        else:
            is_marked = _starts_with_special(self.ids, tokenizer)
            self.labels = [ids[1:] for ids in self.ids] if is_marked else self.ids
        self.label_ids = dataset["label_id"][:] if "label_id" in columns else None
        self.texts = dataset["target" if "target" in columns else "text"][:]
        self.lengths = [max(map(len, pair)) for pair in zip(self.ids, self.labels, strict=True)]
        self.tokenizer = tokenizer
        self.pad_token_id = (encoder_tokenizer or tokenizer).pad_token_id
        self.device, self.batch_size = device, batch_size

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, indices: Sequence[int], name: str) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """(indices, batch) for every batch of this process; `indices` may be any part of the corpus."""
        return chain.from_iterable(self.rounds(indices, name))

    def rounds(self, indices: Sequence[int], name: str) -> Iterator[list[tuple[list[int], dict[str, Tensor]]]]:
        """The same, in as many rounds for every process: a batch for each, in the last round none for some."""
        state = PartialState()
        ordered = sorted(indices, key=lambda i: (self.lengths[i], i))
        batches = [ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)]
        rounds = [batches[i : i + state.num_processes] for i in range(0, len(batches), state.num_processes)]
        for each in tqdm(rounds, desc=name, leave=False, disable=not state.is_main_process or len(rounds) < 8):
            yield [(batch, self.batch(batch)) for batch in each[state.process_index :][:1]]

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        input_ids, attention_mask = padded_batch([self.ids[i] for i in indices], self.pad_token_id)
        labels, _ = padded_batch([self.labels[i] for i in indices], IGNORED)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
        if self.label_ids is not None:
            batch["label_ids"] = torch.tensor([self.label_ids[i] for i in indices])
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def num_tokens(self, indices: Sequence[int]) -> int:
        """Predicted tokens: EOS counted, what stands in front never."""
        return sum(len(self.labels[i]) for i in indices)

    def num_words(self, indices: Sequence[int]) -> int:
        """Words and one EOS for each text; of one that was cut the words that are left."""
        longest = max(map(len, self.labels), default=0)  # as long as a text that was cut, where one was
        return sum(self._num_words(i, longest) + 1 for i in indices)

    def _num_words(self, index: int, longest: int) -> int:
        words = word_count(self.texts[index])
        if len(self.labels[index]) < longest:
            return words
        *left, _ = self.labels[index]  # perhaps not cut, and then there are as many words in it
        return min(words, word_count(self.tokenizer.decode(left)))


def _starts_with_special(ids: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> bool:
    return bool(ids) and ids[0][0] in {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}


def gather(pairs: list[tuple[list[int], dict]]) -> dict:
    """Per-text values of all processes, in the order of their indices: tensors (n, …) or lists of n."""
    found = {index: {name: values[row] for name, values in terms.items()} for indices, terms in pairs
             for row, index in enumerate(indices)}  # fmt: skip
    found = of_all_processes(found)
    rows = [found[index] for index in sorted(found)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: torch.stack(c) if isinstance(c[0], Tensor) else c for name, c in columns.items()}


def of_all_processes(found: dict) -> dict:
    """The entries of every process's dictionary."""
    if PartialState().num_processes == 1:
        return found
    return dict(item for part in gather_object([list(found.items())]) for item in part)

"""Training batches: texts of similar length with their noise, the same in every run with the same seed.

Every random choice is a pure function of (seed, index of the batch, row in it). So a resumed run sees what an
uninterrupted one sees, and several processes together see what one process with the same global batch sees.

An item is a dictionary with this process's rows of one global batch:
    input_ids, attention_mask   (b, S)  what the encoder reads, with the input noise
    labels                      (b, T)  the targets: the clean tokens to write, without BOS or CLS; -100 at padding
    decoder_input_ids           (b, T)  the targets shifted right behind the start token, with word dropout
    noise                       (b, Z)  standard normal, for the latent sample
    label_ids                   (b,)    only of a dataset with the column `label_id`
    rows                        (b,)    only of a dataset, and not of a stream: the places of the texts in it
    num_texts                   int     n

The targets are the tokens that are read, unless the dataset has the column `target_ids`: `tokenize_corpus` adds it for
pairs of texts, and for a decoder whose tokenizer is not the encoder's.

N texts · n texts of a global batch · b of them in this process · S, T padded lengths · Z latent size
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import cast

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from torch.utils.data import get_worker_info

from textvae.data.noise import NO_NOISE, InputNoise, corrupt
from textvae.data.padding import TokenRows
from textvae.data.special_tokens import IGNORED, SpecialIds
from textvae.data.tokenize import has_targets, tokenize
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.typos import add_typos
from textvae.errors import InputError

NOT_FOR_THE_MODEL = ("rows", "num_texts")
_MEGABATCH = 100  # global batches that are sorted by length together
_ORDER, _INPUT_NOISE, _WORD_DROPOUT, _LATENT_NOISE, _TYPOS = range(5)  # independent streams of random numbers


@dataclass(frozen=True)
class BatchPlan:
    """What batches depend on, besides their dataset and its tokenizers.

    Args:
        batch_size: texts of one process; its rows are every `num_processes`-th of the global batch.
        latent_size: Z, of the noise for the latent sample.
        seed: of the order of the texts and of all noise.
        noise: corruption of the inputs.

    Raises:
        InputError: if `batch_size` is below 1.
    """

    batch_size: int
    latent_size: int
    seed: int = 0
    num_processes: int = 1
    process_index: int = 0
    noise: InputNoise = NO_NOISE

    def __post_init__(self):
        if self.batch_size < 1:
            raise InputError(f"The batch size is {self.batch_size}: give 1 or more.")

    @property
    def global_size(self) -> int:
        return self.batch_size * self.num_processes

    def generator(self, stream: int, *index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, stream, *index))

    def group(self, lengths: np.ndarray, *index: int) -> list[np.ndarray]:
        """Global batches of rows (N,) with similar lengths, in random order.

        A batch with fewer rows than there are processes is left out.
        """
        generator, size = self.generator(_ORDER, *index), self.global_size
        order = generator.permutation(len(lengths))
        order = order[np.lexsort((lengths[order], np.arange(len(order)) // (_MEGABATCH * size)))]
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        batches = [rows for rows in batches if len(rows) >= self.num_processes]
        return [batches[i] for i in generator.permutation(len(batches))]


class _Collator:
    """Turns a global batch into this process's item."""

    def __init__(self, tokenizers: TokenizerPair, plan: BatchPlan):
        self.plan, self.noise = plan, plan.noise
        self.reading, self.max_length = TokenizerPair(tokenizers.reading), tokenizers.max_length
        self.special = SpecialIds(tokenizers.decoder)
        self.read_special = self.special if tokenizers.encoder is None else SpecialIds(tokenizers.encoder)
        for special, name in ((self.read_special, "mask"), (self.special, "word_dropout")):
            if special.blank is None and vars(self.noise)[name]:
                raise InputError(f"The tokenizer has no mask and no unknown token: set {name} to 0.")

    def __call__(
        self,
        read: TokenRows,
        targets: TokenRows | None,
        index: int,
        label_ids: np.ndarray | None = None,
        texts: list[str] | None = None,
    ) -> dict:
        """The item with number `index`; without `targets` the decoder writes what is read.

        Args:
            texts: those that were tokenized to `read`; for typing errors, which tokens cannot have.
        """
        inputs, attended = self._inputs(read if texts is None else self._mistyped(texts, index), index)
        targets = read.without_first(self.special.leading) if targets is None else targets
        target_ids, real = targets.padded(self.special.pad)
        latent_noise = self.plan.generator(_LATENT_NOISE, index)
        item = {
            "input_ids": inputs,
            "attention_mask": attended.astype(np.int64),
            "labels": np.where(real, target_ids, IGNORED),
            "decoder_input_ids": self._decoder_inputs(target_ids, real, index),
            "noise": latent_noise.standard_normal((len(inputs), self.plan.latent_size), dtype=np.float32),
        }
        if label_ids is not None:
            item["label_ids"] = label_ids
        own = slice(self.plan.process_index, None, self.plan.num_processes)
        mine = {name: torch.from_numpy(np.ascontiguousarray(array[own])) for name, array in item.items()}
        return {**mine, "num_texts": len(inputs)}

    def _mistyped(self, texts: list[str], index: int) -> TokenRows:
        noisy = add_typos(texts, self.noise.typos, self.plan.generator(_TYPOS, index))
        ids = tokenize({"text": noisy}, self.reading, self.max_length)["input_ids"]
        return TokenRows.of([np.asarray(row, dtype=np.int64) for row in ids])

    def _inputs(self, read: TokenRows, index: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, attended = read.padded(self.read_special.pad)
        if not self.noise.moves_tokens:
            return inputs, attended
        return corrupt(inputs, attended, self.noise, self.read_special, self.plan.generator(_INPUT_NOISE, index))

    def _decoder_inputs(self, target_ids: np.ndarray, real: np.ndarray, index: int) -> np.ndarray:
        words = target_ids
        if self.noise.word_dropout:
            hit = self.plan.generator(_WORD_DROPOUT, index).random(target_ids.shape) < self.noise.word_dropout
            blank = cast(int, self.special.blank)  # which `__init__` has checked
            words = np.where(hit & real & ~self.special.is_special[target_ids], blank, target_ids)
        shifted = np.where(real[:, 1:], words[:, :-1], self.special.pad)
        return np.concatenate([np.full((len(target_ids), 1), self.special.start), shifted], axis=1)


class LengthGroupedBatches(torch.utils.data.Dataset):
    """Micro-batches of a tokenized dataset, numbered from the start of training through all epochs.

    Every epoch holds each text once, in batches of similar lengths that come in random order. Only a last global batch
    of fewer than `num_processes` texts is left out. Read it with
    `DataLoader(batches, batch_size=None, sampler=range(first, last))`.

    Attributes:
        batches_per_epoch: ceil(N / (batch_size * num_processes)), one less where the last batch is left out.
        lengths: (N,) tokens of each text; the longer of input and targets where they differ.

    Args:
        dataset: with the columns `text`, `input_ids` and perhaps `target_ids` and `label_id`, from `tokenize_corpus`.
        tokenizers: those that made the dataset.

    Raises:
        InputError: if there are fewer texts than processes, the noise needs a token that the tokenizer lacks, or there
            are two tokenizers and no `target_ids`.
    """

    def __init__(self, dataset: Dataset, tokenizers: TokenizerPair, plan: BatchPlan):
        self.plan, self._collate = plan, _Collator(tokenizers, plan)
        self._read = TokenRows.of_column(dataset, "input_ids")
        self._targets, self.lengths = None, self._read.lengths
        if has_targets(dataset.column_names, tokenizers):
            self._targets = TokenRows.of_column(dataset, "target_ids")
            self.lengths = np.maximum(self._read.lengths, self._targets.lengths)
        has_label_ids = "label_id" in dataset.column_names
        self._label_ids = np.array(dataset["label_id"][:], dtype=np.int64) if has_label_ids else None
        self._texts = dataset.select_columns("text") if plan.noise.typos else None
        if len(self.lengths) < plan.num_processes:
            raise InputError(f"{len(self.lengths)} texts are too few for {plan.num_processes} processes: add texts.")
        full, rest = divmod(len(self.lengths), plan.global_size)
        self.batches_per_epoch = full + (rest >= plan.num_processes)
        self._epoch: tuple[int, list[np.ndarray]] | None = None

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __getitem__(self, index: int) -> dict:
        epoch, position = divmod(index, self.batches_per_epoch)
        rows = self._batches(epoch)[position]
        targets = None if self._targets is None else self._targets.take(rows)
        label_ids = None if self._label_ids is None else self._label_ids[rows]
        texts = None if self._texts is None else self._texts[rows]["text"]
        item = self._collate(self._read.take(rows), targets, index, label_ids, texts)
        own = rows[self.plan.process_index :: self.plan.num_processes]
        return {**item, "rows": torch.from_numpy(own.astype(np.int64))}

    def padding_share(self, epoch: int = 0) -> float:
        """The share of positions that hold padding in the global batches of an epoch, in inputs and targets."""
        sides = [side.lengths for side in (self._read, self._targets) if side is not None]
        lengths = [side[rows] for rows in self._batches(epoch) for side in sides]
        return 1 - sum(int(n.sum()) for n in lengths) / sum(len(n) * int(n.max()) for n in lengths)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self.plan.group(self.lengths, epoch)
        return self._epoch[1]


class StreamedBatches(torch.utils.data.IterableDataset):
    """The same items from a tokenized stream, without end, epoch after epoch; for at most one loader worker.

    The stream is read in its order, and shuffled and grouped by length within a buffer of 100 global batches. Each
    process reads the whole stream and keeps its rows. To resume, set `start_index`: the batches before it are read and
    dropped.

    Raises:
        InputError: when iterated, if the stream holds fewer texts than processes or there are several workers.
    """

    def __init__(self, dataset: IterableDataset, tokenizers: TokenizerPair, plan: BatchPlan, start_index: int = 0):
        self.plan, self._collate = plan, _Collator(tokenizers, plan)
        # Not `dataset.shuffle`: its order depends on the loader's workers, and it moves the shards, and with them the
        # texts that an automatic validation split holds out.
        columns = dataset.column_names or list(next(iter(dataset), {}))
        self._columns = ["input_ids", "target_ids"] if has_targets(columns, tokenizers) else ["input_ids"]
        self._text = ["text"] if plan.noise.typos else []
        self._stream = dataset.select_columns(self._columns + self._text)
        self.start_index = start_index

    def __iter__(self) -> Iterator[dict]:
        if (worker := get_worker_info()) is not None and worker.num_workers > 1:
            raise InputError(
                f"A stream cannot be read by {worker.num_workers} workers: set the number of workers to 1."
            )
        index = 0
        for epoch in count():
            first = index
            for rows in self._global_batches(epoch):
                if index >= self.start_index:
                    yield self._item(rows, index)
                index += 1
            if index == first:
                raise InputError(f"The stream holds too few texts for {self.plan.num_processes} processes: add texts.")

    def _item(self, rows: list[dict], index: int) -> dict:
        read, *targets = (TokenRows.of([row[name] for row in rows]) for name in self._columns)
        texts = [row["text"] for row in rows] if self._text else None
        return self._collate(read, targets[0] if targets else None, index, texts=texts)

    def _global_batches(self, epoch: int) -> Iterator[list[dict]]:
        """Rows with an array of token ids for each column."""
        texts = (row | {name: np.asarray(row[name], dtype=np.int64) for name in self._columns} for row in self._stream)
        size = _MEGABATCH * self.plan.global_size
        for buffer_index in count():
            buffer = list(islice(texts, size))
            if not buffer:
                return
            lengths = np.array([max(len(row[name]) for name in self._columns) for row in buffer])
            for rows in self.plan.group(lengths, epoch, buffer_index):
                yield [buffer[row] for row in rows]

"""Training batches: texts of similar length, their noise, and nothing left to chance.

Every random choice is a pure function of (seed, index of the batch, row in it): a resumed run sees what an
uninterrupted one sees, and several processes see together what one process with the same global batch sees.

An item is a dictionary of this process's rows of one global batch:
    input_ids, attention_mask   (b, S)  what the encoder reads, with the input noise
    labels                      (b, T)  the clean tokens to write, without a leading BOS or CLS; -100 at padding
    decoder_input_ids           (b, T)  the labels moved right behind the start token, with word dropout
    noise                       (b, Z)  standard normal, for the latent sample
    label_ids                   (b,)    of a dataset with the column `label_id` only
    num_texts                   int     n

What is to be written is what is read, unless the dataset has a column `labels`: `tokenize_corpus` makes one of pairs,
and for a decoder with another tokenizer than the encoder's.

N texts · n texts of a global batch · b of them in this process · S, T padded lengths · Z latent size
"""

from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from torch.utils.data import get_worker_info
from transformers import PreTrainedTokenizerBase

from textvae.data.noise import NO_NOISE, InputNoise, corrupt
from textvae.data.padding import TokenRows, check_labels, padded_rows, token_rows_of
from textvae.data.special_tokens import SpecialIds
from textvae.errors import InputError

_MEGABATCH = 100  # global batches that are sorted by length together


_ORDER, _INPUT_NOISE, _WORD_DROPOUT, _LATENT_NOISE = range(4)  # independent streams of random numbers


class _Collator:
    """Turns a global batch into this process's item."""

    def __init__(
        self, tokenizer, encoder_tokenizer, batch_size, seed, num_processes, process_index, latent_size, noise
    ):
        if batch_size < 1:
            raise InputError(f"The batch size is {batch_size}: give 1 or more.")
        self.special = SpecialIds(tokenizer)
        self.read_special = self.special if encoder_tokenizer is None else SpecialIds(encoder_tokenizer)
        for special, name in ((self.read_special, "mask"), (self.special, "word_dropout")):
            if special.blank is None and vars(noise)[name]:
                raise InputError(f"The tokenizer has no mask and no unknown token: set {name} to 0.")
        self.seed, self.latent_size, self.noise = seed, latent_size, noise
        self.num_processes, self.global_size = num_processes, batch_size * num_processes
        self.rows = slice(process_index, None, num_processes)

    def generator(self, stream: int, *index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, stream, *index))

    def __call__(
        self, read: TokenRows, written: TokenRows | None, index: int, label_ids: np.ndarray | None = None
    ) -> dict:
        """The item of the texts to read; `written`, where they are others, without BOS or CLS in front."""
        noise = self.noise
        inputs, attended = padded_rows(*read, self.read_special.pad)
        written = read.without_first(self.special.leading) if written is None else written
        targets, real = padded_rows(*written, self.special.pad)
        if noise.drop or noise.mask or noise.substitute or noise.shuffle:
            generator = self.generator(_INPUT_NOISE, index)
            inputs, attended = corrupt(inputs, attended, noise, self.read_special, generator)
        latent_noise = self.generator(_LATENT_NOISE, index)
        item = {
            "input_ids": inputs,
            "attention_mask": attended.astype(np.int64),
            "labels": np.where(real, targets, -100),
            "decoder_input_ids": self._decoder_inputs(targets, real, index),
            "noise": latent_noise.standard_normal((len(inputs), self.latent_size), dtype=np.float32),
        }
        if label_ids is not None:
            item["label_ids"] = label_ids
        mine = {name: torch.from_numpy(np.ascontiguousarray(array[self.rows])) for name, array in item.items()}
        return {**mine, "num_texts": len(inputs)}

    def _decoder_inputs(self, targets: np.ndarray, real: np.ndarray, index: int) -> np.ndarray:
        words = targets
        if self.noise.word_dropout:
            hit = self.generator(_WORD_DROPOUT, index).random(targets.shape) < self.noise.word_dropout
            words = np.where(hit & real & ~self.special.is_special[targets], self.special.blank, targets)
        shifted = np.where(real[:, 1:], words[:, :-1], self.special.pad)
        return np.concatenate([np.full((len(targets), 1), self.special.start), shifted], axis=1)


def _grouped(lengths: np.ndarray, collate: _Collator, *index: int) -> list[np.ndarray]:
    """Global batches, as rows of similar lengths (N,), in random order; one with a process left empty is left out."""
    generator, size = collate.generator(_ORDER, *index), collate.global_size
    order = generator.permutation(len(lengths))
    order = order[np.lexsort((lengths[order], np.arange(len(order)) // (_MEGABATCH * size)))]
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    batches = [rows for rows in batches if len(rows) >= collate.num_processes]
    return [batches[i] for i in generator.permutation(len(batches))]


class LengthGroupedBatches(torch.utils.data.Dataset):
    """Micro-batches of a tokenized corpus, numbered from the start of training through all epochs.

    In each epoch every text occurs once (but for a last global batch of fewer than `num_processes` texts, which is
    left out), in batches of similar lengths that come in random order. Read it with
    `DataLoader(batches, batch_size=None, sampler=range(first, last))`.

    Attributes:
        batches_per_epoch: ceil(N / (batch_size * num_processes)), one less where the last batch is left out.
        lengths: (N,) tokens of each text; where what is written is something else, of the longer one.

    Args:
        dataset: with the column `input_ids` and perhaps `labels` and `label_id`, as `tokenize_corpus` makes them.
        tokenizer: the decoder's.
        encoder_tokenizer: where the encoder has another.
        batch_size: texts of one process; its rows are every `num_processes`-th of the global batch.
        noise: corruption of the inputs.

    Raises:
        InputError: if there are fewer texts than processes, noise needs a token that the tokenizer lacks, or there are
            two tokenizers and no `labels`.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        *,
        latent_size: int,
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
        noise: InputNoise = NO_NOISE,
        encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        self._collate = _Collator(
            tokenizer, encoder_tokenizer, batch_size, seed, num_processes, process_index, latent_size, noise
        )
        has_labels = check_labels(dataset.column_names, encoder_tokenizer)
        self._read = token_rows_of(dataset, "input_ids")
        self._written = token_rows_of(dataset, "labels") if has_labels else None
        has_label_ids = "label_id" in dataset.column_names
        self._label_ids = np.array(dataset["label_id"][:], dtype=np.int64) if has_label_ids else None
        self.lengths = np.maximum(self._read.lengths, self._written.lengths) if has_labels else self._read.lengths
        if len(self.lengths) < num_processes:
            raise InputError(f"{len(self.lengths)} texts are too few for {num_processes} processes: add texts.")
        full, rest = divmod(len(self.lengths), self._collate.global_size)
        self.batches_per_epoch = full + (rest >= num_processes)
        self._plan_of = None

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __getitem__(self, index: int) -> dict:
        epoch, position = divmod(index, self.batches_per_epoch)
        rows = self._batches(epoch)[position]
        written = None if self._written is None else self._written.take(rows)
        label_ids = None if self._label_ids is None else self._label_ids[rows]
        return self._collate(self._read.take(rows), written, index, label_ids)

    def padding_share(self, epoch: int = 0) -> float:
        """The share of positions that hold padding in the global batches of an epoch, on both sides."""
        sides = [side.lengths for side in (self._read, self._written) if side is not None]
        lengths = [side[rows] for rows in self._batches(epoch) for side in sides]
        return 1 - sum(int(n.sum()) for n in lengths) / sum(len(n) * int(n.max()) for n in lengths)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self._plan_of is None or self._plan_of[0] != epoch:
            batches = _grouped(self.lengths, self._collate, epoch)
            self._plan_of = epoch, batches
        return self._plan_of[1]


class StreamedBatches(torch.utils.data.IterableDataset):
    """The same items from a tokenized stream, without end, epoch after epoch; for at most one loader worker.

    Texts are read in their order, and shuffled and grouped by length within a buffer of 100 global batches. Each
    process reads the whole stream and keeps its rows. `start_index` resumes by reading past the batches before it;
    the other arguments are those of `LengthGroupedBatches`.

    Raises:
        InputError: when iterated, if the stream holds fewer texts than processes or there are several workers.
    """

    def __init__(
        self,
        dataset: IterableDataset,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        *,
        latent_size: int,
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
        noise: InputNoise = NO_NOISE,
        encoder_tokenizer: PreTrainedTokenizerBase | None = None,
        start_index: int = 0,
    ):
        self._collate = _Collator(
            tokenizer, encoder_tokenizer, batch_size, seed, num_processes, process_index, latent_size, noise
        )
        self._buffer_size = _MEGABATCH * self._collate.global_size
        # Not `dataset.shuffle`: its order depends on the loader's workers, and it moves the shards, and with them the
        # texts that an automatic validation split holds out.
        columns = dataset.column_names or list(next(iter(dataset), {}))
        self._columns = ["input_ids", "labels"] if check_labels(columns, encoder_tokenizer) else ["input_ids"]
        self._stream = dataset.select_columns(self._columns)
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
                raise InputError(
                    f"The stream holds too few texts for {self._collate.num_processes} processes: add texts."
                )

    def _item(self, rows: list[list[np.ndarray]], index: int) -> dict:
        read, *written = (TokenRows.of_rows(column) for column in zip(*rows, strict=True))
        return self._collate(read, written[0] if written else None, index)

    def _global_batches(self, epoch: int) -> Iterator[list[list[np.ndarray]]]:
        """Rows of ids, one array for each column."""
        texts = ([np.asarray(row[name], dtype=np.int64) for name in self._columns] for row in self._stream)
        for buffer_index in count():
            buffer = list(islice(texts, self._buffer_size))
            if not buffer:
                return
            lengths = np.array([max(map(len, row)) for row in buffer])
            for rows in _grouped(lengths, self._collate, epoch, buffer_index):
                yield [buffer[row] for row in rows]

"""Training batches: texts of similar length, their noise, and nothing left to chance.

Every random choice is a pure function of (seed, index of the batch, row in it): a resumed run sees what an
uninterrupted one sees, and several processes see together what one process with the same global batch sees.

An item is a dictionary of this process's rows of one global batch:
    input_ids, attention_mask   (b, S)  what the encoder reads, with the input noise
    labels                      (b, T)  the clean tokens without a leading BOS or CLS; -100 at padding
    decoder_input_ids           (b, T)  the labels moved right behind the start token, with word dropout
    noise                       (b, Z)  standard normal, for the latent sample
    num_texts                   int     n

N texts · n texts of a global batch · b of them in this process · S, T padded lengths · Z latent size
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from torch.utils.data import get_worker_info
from transformers import PreTrainedTokenizerBase

from textvae.errors import InputError

_MEGABATCH = 100  # global batches that are sorted by length together
_ORDER, _INPUT_NOISE, _WORD_DROPOUT, _LATENT_NOISE = range(4)  # independent streams of random numbers


@dataclass(frozen=True)
class InputNoise:
    """Corruption of what the model reads, never of what it must write; special tokens are spared.

    On the encoder's side (Shen et al. 2020, DAAE), in this order: each token moves by at most `shuffle` places, and
    is dropped, replaced by a random one and masked with the probabilities `drop`, `substitute` and `mask`. On the
    decoder's side `word_dropout` is the probability that an input token is masked (Bowman et al. 2016).

    Raises:
        InputError: if a probability is outside 0 to 1, or `shuffle` negative.
    """

    drop: float = 0.0
    mask: float = 0.0
    substitute: float = 0.0
    shuffle: int = 0
    word_dropout: float = 0.0

    def __post_init__(self):
        for name in ("drop", "mask", "substitute", "word_dropout"):
            if not 0 <= vars(self)[name] <= 1:
                raise InputError(f"{name} is {vars(self)[name]}: give a probability between 0 and 1.")
        if self.shuffle < 0:
            raise InputError(f"shuffle is {self.shuffle}: give the largest displacement in tokens, 0 or more.")


NO_NOISE = InputNoise()


class _SpecialIds:
    """What batches need to know of a tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        starts = [i for i in (tokenizer.bos_token_id, tokenizer.cls_token_id) if i is not None]
        first = tokenizer("a")["input_ids"][0]
        self.pad = tokenizer.pad_token_id
        self.leading = first if first in starts else None
        self.start = starts[0] if starts else tokenizer.eos_token_id
        blanks = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.get_vocab().get("<unk>"))
        self.blank = next((i for i in blanks if i is not None), None)
        ids = np.array(sorted(tokenizer.get_vocab().values()))
        special = np.isin(ids, [i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id])
        self.ordinary = ids[~special]
        self.is_special = np.zeros(ids[-1] + 1, dtype=bool)
        self.is_special[ids[special]] = True


def _gather(flat: np.ndarray, starts: np.ndarray, lengths: np.ndarray, fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `flat[start : start + length]`, padded with `fill`, and where they are real: both (n, longest)."""
    columns = np.arange(lengths.max(initial=0))
    real = columns < lengths[:, None]
    places = np.minimum(starts[:, None] + columns, len(flat) - 1)
    return np.where(real, flat[places], fill).astype(np.int64), real


def padded_batch(texts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad lists of ids on the right: `input_ids` and `attention_mask`, both (n, longest) and int64."""
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    flat = np.concatenate([np.zeros(1, dtype=np.int64), *(np.asarray(ids, dtype=np.int64) for ids in texts)])
    ids, real = _gather(flat, 1 + np.cumsum(lengths) - lengths, lengths, pad_id)
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))


def _shuffle(ids: np.ndarray, movable: np.ndarray, distance: int, generator: np.random.Generator) -> np.ndarray:
    """Permute the movable tokens of each row, each by at most `distance` places among them (Lample et al. 2018)."""
    slots = np.argsort(~movable, axis=1, kind="stable")  # the movable positions, then the others
    rank = np.arange(ids.shape[1])
    keys = rank + generator.uniform(0, distance + 1, ids.shape)
    keys = np.where(rank < movable.sum(1, keepdims=True), keys, rank + distance + 1.0)
    sources = np.take_along_axis(slots, np.argsort(keys, axis=1, kind="stable"), axis=1)
    shuffled = np.empty_like(ids)
    np.put_along_axis(shuffled, slots, np.take_along_axis(ids, sources, axis=1), axis=1)
    return shuffled


def _corrupt(
    ids: np.ndarray, real: np.ndarray, noise: InputNoise, special: _SpecialIds, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's noisy input and where it is real, both (n, at most S), from clean ids (n, S)."""
    movable = real & ~special.is_special[ids]
    if noise.shuffle:
        ids = _shuffle(ids, movable, noise.shuffle, generator)
    if noise.drop:
        kept = real & ~(movable & (generator.random(ids.shape) < noise.drop))
        order = np.argsort(~kept, axis=1, kind="stable")[:, : kept.sum(1).max()]
        real, movable = (np.take_along_axis(mask, order, axis=1) for mask in (kept, kept & movable))
        ids = np.where(real, np.take_along_axis(ids, order, axis=1), special.pad)
    if noise.substitute:
        others = generator.choice(special.ordinary, ids.shape)
        ids = np.where(movable & (generator.random(ids.shape) < noise.substitute), others, ids)
    if noise.mask:
        ids = np.where(movable & (generator.random(ids.shape) < noise.mask), special.blank, ids)
    return ids, real


class _Collator:
    """Turns a global batch into this process's item."""

    def __init__(self, tokenizer, batch_size, seed, num_processes, process_index, latent_size, noise):
        if batch_size < 1:
            raise InputError(f"The batch size is {batch_size}: give 1 or more.")
        self.special = _SpecialIds(tokenizer)
        if self.special.blank is None and (noise.mask or noise.word_dropout):
            raise InputError("The tokenizer has no mask and no unknown token: set mask and word_dropout to 0.")
        self.seed, self.latent_size, self.noise = seed, latent_size, noise
        self.num_processes, self.global_size = num_processes, batch_size * num_processes
        self.rows = slice(process_index, None, num_processes)

    def generator(self, stream: int, *index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, stream, *index))

    def __call__(self, flat: np.ndarray, starts: np.ndarray, lengths: np.ndarray, index: int) -> dict:
        special, noise = self.special, self.noise
        inputs, attended = _gather(flat, starts, lengths, special.pad)
        skip = 0 if special.leading is None else (flat[starts] == special.leading).astype(np.int64)
        targets, real = _gather(flat, starts + skip, lengths - skip, special.pad)
        if noise.drop or noise.mask or noise.substitute or noise.shuffle:
            inputs, attended = _corrupt(inputs, attended, noise, special, self.generator(_INPUT_NOISE, index))
        latent_noise = self.generator(_LATENT_NOISE, index)
        item = {
            "input_ids": inputs,
            "attention_mask": attended.astype(np.int64),
            "labels": np.where(real, targets, -100),
            "decoder_input_ids": self._decoder_inputs(targets, real, index),
            "noise": latent_noise.standard_normal((len(starts), self.latent_size), dtype=np.float32),
        }
        mine = {name: torch.from_numpy(np.ascontiguousarray(array[self.rows])) for name, array in item.items()}
        return {**mine, "num_texts": len(starts)}

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
        lengths: (N,) tokens of each text.

    Args:
        dataset: with the column `input_ids`, as `tokenize_corpus` makes it.
        batch_size: texts of one process; its rows are every `num_processes`-th of the global batch.
        noise: corruption of the inputs.

    Raises:
        InputError: if there are fewer texts than processes, or noise needs a token that the tokenizer lacks.
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
    ):
        self._collate = _Collator(tokenizer, batch_size, seed, num_processes, process_index, latent_size, noise)
        self._flat, self.lengths = _flat_ids(dataset)
        self._starts = np.cumsum(self.lengths) - self.lengths
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
        return self._collate(self._flat, self._starts[rows], self.lengths[rows], index)

    def padding_share(self, epoch: int = 0) -> float:
        """The share of positions that hold padding in the global batches of an epoch."""
        lengths = [self.lengths[rows] for rows in self._batches(epoch)]
        return 1 - sum(int(n.sum()) for n in lengths) / sum(len(n) * int(n.max()) for n in lengths)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self._plan_of is None or self._plan_of[0] != epoch:
            batches = _grouped(self.lengths, self._collate, epoch)
            self._plan_of = epoch, batches
        return self._plan_of[1]


def _flat_ids(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """All ids in one array, and the length of each text (N,)."""
    column = dataset.select_columns("input_ids").with_format("arrow")[:]["input_ids"]
    flat = [chunk.flatten().to_numpy() for chunk in column.chunks]
    lengths = [chunk.value_lengths().to_numpy() for chunk in column.chunks]
    return np.concatenate(flat), np.concatenate(lengths).astype(np.int64)


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
        start_index: int = 0,
    ):
        self._collate = _Collator(tokenizer, batch_size, seed, num_processes, process_index, latent_size, noise)
        self._buffer_size = _MEGABATCH * self._collate.global_size
        # Not `dataset.shuffle`: its order depends on the loader's workers, and it moves the shards, and with them the
        # texts that an automatic validation split holds out.
        self._stream = dataset.select_columns("input_ids")
        self.start_index = start_index

    def __iter__(self) -> Iterator[dict]:
        if (worker := get_worker_info()) is not None and worker.num_workers > 1:
            raise InputError(
                f"A stream cannot be read by {worker.num_workers} workers: set the number of workers to 1."
            )
        index = 0
        for epoch in count():
            first = index
            for ids in self._global_batches(epoch):
                if index >= self.start_index:
                    yield self._item(ids, index)
                index += 1
            if index == first:
                raise InputError(
                    f"The stream holds too few texts for {self._collate.num_processes} processes: add texts."
                )

    def _item(self, ids: list[np.ndarray], index: int) -> dict:
        lengths = np.array([len(row) for row in ids])
        return self._collate(np.concatenate(ids), np.cumsum(lengths) - lengths, lengths, index)

    def _global_batches(self, epoch: int) -> Iterator[list[np.ndarray]]:
        texts = (np.asarray(row["input_ids"], dtype=np.int64) for row in self._stream)
        for buffer_index in count():
            buffer = list(islice(texts, self._buffer_size))
            if not buffer:
                return
            lengths = np.array([len(ids) for ids in buffer])
            for rows in _grouped(lengths, self._collate, epoch, buffer_index):
                yield [buffer[row] for row in rows]

"""Input noise: corruption of what the model reads, never of the targets.

n texts · S padded length
"""

from dataclasses import dataclass
from typing import cast

import numpy as np

from textvae.data.special_tokens import SpecialIds
from textvae.errors import InputError


@dataclass(frozen=True)
class InputNoise:
    """Corruption of what the model reads, never of the targets; special tokens stay.

    In the encoder's input, in this order: each word of the text has a typing error with the probability `typos`, see
    [`textvae.data.typos`]; then each token (Shen et al. 2020, DAAE) moves by at most `shuffle` places, and is dropped,
    replaced by a random one, and masked, with the probabilities `drop`, `substitute` and `mask`. In the decoder's input
    each token is masked with the probability `word_dropout` (Bowman et al. 2016).

    Raises:
        InputError: if a probability is outside 0 to 1, or `shuffle` negative.
    """

    drop: float = 0.0
    mask: float = 0.0
    substitute: float = 0.0
    shuffle: int = 0
    typos: float = 0.0
    word_dropout: float = 0.0

    def __post_init__(self):
        for name in ("drop", "mask", "substitute", "typos", "word_dropout"):
            if not 0 <= vars(self)[name] <= 1:
                raise InputError(f"{name} is {vars(self)[name]}: give a probability between 0 and 1.")
        if self.shuffle < 0:
            raise InputError(f"shuffle is {self.shuffle}: give the largest displacement in tokens, 0 or more.")

    @property
    def moves_tokens(self) -> bool:
        """Whether `corrupt` has anything to do."""
        return bool(self.drop or self.mask or self.substitute or self.shuffle)

    @property
    def is_read(self) -> bool:
        """Whether the encoder reads something else than the clean text."""
        return self.moves_tokens or self.typos > 0


NO_NOISE = InputNoise()


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


def corrupt(
    ids: np.ndarray, real: np.ndarray, noise: InputNoise, special: SpecialIds, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy encoder input and where it is real, both (n, at most S), from clean token ids (n, S)."""
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
        blank = cast(int, special.blank)  # batches refuse a tokenizer without one
        ids = np.where(movable & (generator.random(ids.shape) < noise.mask), blank, ids)
    return ids, real

"""Draws: the random numbers of one call, from a seed or from torch's own state, whatever other threads do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from textvae.errors import InputError
from textvae.pipeline.inputs import has_norm

# torch has one random state for each device, which all threads share.
_TURNS = threading.RLock()


def finite_draws(latents: Tensor, temperature: float) -> Tensor:
    """The same z (…, Z), drawn at this temperature; raises InputError if it made one too large to compute with."""
    if not has_norm(latents).all():
        raise InputError(f"temperature is {temperature:g}, which makes z far too large: give a smaller one.")
    return latents


class Draws:
    """Noise for z, and the random state from which `generate` draws words.

    With a seed both come from generators of the call's own. Without one they come from torch's own state.
    """

    def __init__(self, seed: int | None, device: torch.device):
        """`device` is that of the model, on which words are drawn; noise is drawn on the CPU."""
        self._device = device
        self._of_noise = self._of_words = None
        if seed is not None:
            self._of_noise = self._of_words = torch.Generator().manual_seed(seed)
            if device.type != "cpu":
                self._of_words = torch.Generator(device).manual_seed(seed)

    def noise(self, *size: int) -> Tensor:
        """Standard normal noise of this size, on the CPU.

        Rows that are drawn in several calls are those that one call draws.
        """
        # torch draws 16 numbers at a time, and what is left at the end in another way.
        blocks = *size[:-1], -(-size[-1] // 16) * 16
        if self._of_noise is not None:
            return torch.randn(blocks, generator=self._of_noise, device="cpu")[..., : size[-1]]
        with _TURNS:
            return torch.randn(blocks, device="cpu")[..., : size[-1]]

    @contextmanager
    def words(self) -> Iterator[None]:
        """A context for one call of `generate`, which takes no generator: torch's state is that of this call.

        Other calls wait for their turn, and afterwards torch's state is as before.
        """
        with _TURNS:
            if self._of_words is None:
                yield
                return
            state = _state(self._device)
            _set_state(self._device, self._of_words.get_state())
            try:
                yield
            finally:
                self._of_words.set_state(_state(self._device))
                _set_state(self._device, state)


def _state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)


def _set_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)

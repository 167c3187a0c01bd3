"""WeightAverage: a running average of the weights, which can be evaluated and saved instead of the latest weights."""

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import nn

from textvae.errors import InputError

KINDS = ("none", "ema", "swa")


M = TypeVar("M", bound=nn.Module)


class WeightAverage(Generic[M]):
    """A running average of a model's weights; its state is part of a checkpoint.

    After n updates, the next update moves the average by the share w(n) towards the new weights:

    - `ema`: w = 1 − min(decay, n / (9 + n)), a moving average that soon forgets the first weights.
    - `swa`: w = 1 / (n + 1), the plain mean (Izmailov et al. 2018).
    - `none`: no average; `of` returns the model itself.

    Frozen weights are shared with `model` and are not part of the state.

    Args:
        kind: `none`, `ema` or `swa`.
        decay: the decay of `ema`.
        start: the number of optimizer steps before the first update.

    Raises:
        InputError: if `kind` is unknown.
    """

    def __init__(self, model: M, kind: str, decay: float = 0.999, start: float = 0):
        if kind not in KINDS:
            raise InputError(f"weight_averaging must be one of {', '.join(KINDS)}, not {kind!r}.")
        self.kind, self.decay, self.start = kind, decay, start
        self.num_averaged = 0
        frozen = {id(p): p for p in model.parameters() if not p.requires_grad}
        self.model = None if kind == "none" else deepcopy(model, dict(frozen)).requires_grad_(False)
        named = model.named_parameters(remove_duplicate=False)
        self.averaged = {name for name, parameter in named if id(parameter) not in frozen}
        self.averaged |= {name for name, _ in model.named_buffers()}

    @torch.no_grad()
    def update(self, model: M, step: int) -> None:
        """Add the weights after optimizer step `step` to the average; buffers are copied from `model`."""
        if self.model is None:
            return
        if step <= self.start:  # a resumed run may have set a later start
            return self.restart()
        device = next(model.parameters()).device
        if any(average.device != device for average in self.model.parameters()):
            self.model.to(device)
        pairs = zip(self.model.parameters(), model.parameters(), strict=True)
        averages, weights = zip(*((a, w) for a, w in pairs if a is not w), strict=True)
        torch._foreach_lerp_(averages, weights, self._share())  # pyright: ignore[reportPrivateImportUsage]
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)
        self.num_averaged += 1

    def _share(self) -> float:
        n = self.num_averaged
        return 1 / (n + 1) if self.kind == "swa" else 1 - min(self.decay, n / (9 + n))

    def of(self, model: M) -> M:
        """The averaged model, or `model` as long as there is no average."""
        return model if self.model is None or not self.num_averaged else self.model

    def restart(self) -> None:
        """Drop the average, for example when weights are initialised again."""
        self.num_averaged = 0

    def state_dict(self) -> dict:
        weights = {} if self.model is None or not self.num_averaged else self.model.state_dict()
        averaged = {name: weight for name, weight in weights.items() if name in self.averaged}
        return {"num_averaged": self.num_averaged, "weights": averaged}

    def load_state_dict(self, state: dict) -> None:
        """Restore the average of a checkpoint, if the checkpoint has one and this run uses one."""
        if self.model is None or not state["weights"]:
            return
        self.num_averaged = state["num_averaged"]
        self.model.load_state_dict(state["weights"], strict=self.averaged.issuperset(self.model.state_dict()))

"""WeightAverage: what is judged and kept can be the average of the weights that training went through."""

from copy import deepcopy

import torch
from torch import nn

from textvae.errors import InputError

KINDS = ("none", "ema", "swa")


class WeightAverage:
    """A running average of a model's weights; its state is part of a checkpoint.

    With n the number of weights that it holds already, an update moves it by the share w(n) towards the new ones:

    - `ema`: w = 1 − min(decay, n / (9 + n)), a moving average that soon forgets the first weights.
    - `swa`: w = 1 / (n + 1), the plain mean (Izmailov et al. 2018).
    - `none`: nothing is kept, and `of` gives the model itself.

    Weights that are frozen are those of `model` itself, and not part of the state.

    Args:
        kind: `none`, `ema` or `swa`.
        decay: of `ema`.
        start: the number of optimizer steps before the first update.

    Raises:
        InputError: if `kind` is unknown.
    """

    def __init__(self, model: nn.Module, kind: str, decay: float = 0.999, start: float = 0):
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
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step `step`; buffers become those of `model`."""
        if self.model is None:
            return
        if step <= self.start:  # which a resumed run may have put off
            return self.restart()
        device = next(model.parameters()).device
        if any(average.device != device for average in self.model.parameters()):
            self.model.to(device)
        pairs = zip(self.model.parameters(), model.parameters(), strict=True)
        averages, weights = zip(*((a, w) for a, w in pairs if a is not w), strict=True)
        torch._foreach_lerp_(averages, weights, self._share())
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)
        self.num_averaged += 1

    def _share(self) -> float:
        n = self.num_averaged
        return 1 / (n + 1) if self.kind == "swa" else 1 - min(self.decay, n / (9 + n))

    def of(self, model: nn.Module) -> nn.Module:
        """The average, or `model` as long as there is none."""
        return self.model if self.num_averaged else model

    def restart(self) -> None:
        """Forget what was averaged, as where weights are drawn anew."""
        self.num_averaged = 0

    def state_dict(self) -> dict:
        weights = self.model.state_dict() if self.num_averaged else {}
        averaged = {name: weight for name, weight in weights.items() if name in self.averaged}
        return {"num_averaged": self.num_averaged, "weights": averaged}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from a checkpoint, or from no average where that has none or this run wants none."""
        if self.model is None or not state["weights"]:
            return
        self.num_averaged = state["num_averaged"]
        self.model.load_state_dict(state["weights"], strict=self.averaged.issuperset(self.model.state_dict()))

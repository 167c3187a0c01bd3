"""Weight averaging: the model that is judged and kept is the average of those that training went through."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_swa_multi_avg_fn


def average_of(model: nn.Module, kind: str, decay: float) -> AveragedModel | None:
    """A copy of the model whose `update_parameters(model)` moves it along; None where `kind` is `none`.

    - `ema`: average ← d · average + (1 - d) · weights, with d = min(decay, (1 + n) / (10 + n)) at update n, so that the
      first weights are soon forgotten.
    - `swa`: the plain mean of all weights it was updated with (Izmailov et al. 2018).

    Its state is part of a checkpoint; buffers are those of the latest weights.
    """
    if kind == "none":
        return None
    return AveragedModel(model, multi_avg_fn=get_swa_multi_avg_fn() if kind == "swa" else _moving_average(decay))


def _moving_average(decay: float):
    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], num_averaged: Tensor) -> None:
        now = min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        torch._foreach_lerp_(averages, list(weights), 1 - now)

    return update

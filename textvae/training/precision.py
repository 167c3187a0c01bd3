"""The precision that matrix products are computed in, and what bf16 costs on this machine."""

import logging
import os
import time
from functools import cache
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from textvae.training import checkpoints
from textvae.training.config import TrainingConfig

logger = logging.getLogger(__name__)


def choose_mixed_precision(config: TrainingConfig, checkpoint: Path | None = None) -> str:
    """`auto` stays what it was when a run is resumed, follows `accelerate launch --mixed_precision`, or measures."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    if checkpoint is not None:
        return checkpoints.about(checkpoint)["mixed_precision"]
    if (asked := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) != "no":
        return asked
    return broadcast_object_list(["bf16" if _bf16_is_faster(PartialState().device) else "no"])[0]


def _bf16_is_faster(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bf16_cost() < 0.7


@cache
def bf16_cost() -> float:
    """How long a matrix product takes on this CPU in bf16, where one in fp32 takes 1; measured once."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.bfloat16] / seconds[torch.float32]


def warn_of_slow_bf16(settings: dict[str, str], device: torch.device) -> None:
    """Say which of these settings, values by name, ask a CPU for bf16 that computes faster in fp32, if any."""
    asking = [f"{name} {value}" for name, value in settings.items() if value in ("bf16", "bfloat16")]
    if asking and device.type == "cpu" and (cost := bf16_cost()) > 1:
        logger.warning(
            "A matrix product takes %.1f times as long in bf16 as in fp32 on this CPU: leave %s out, unless memory is "
            "short.",
            cost,
            " and ".join(asking),
        )

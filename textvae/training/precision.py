"""The precision of matrix products, and the speed of bf16 on this machine."""

import logging
import os
import time
from functools import cache
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from textvae.processes import device_of
from textvae.training import checkpoints
from textvae.training.config import TrainingConfig

logger = logging.getLogger(__name__)


def choose_mixed_precision(config: TrainingConfig, checkpoint: Path | None = None) -> str:
    """The mixed precision of a run.

    `auto` is that of the checkpoint when a run is resumed, else that of `accelerate launch --mixed_precision`, else
    bf16 if it is faster on this machine.
    """
    if config.mixed_precision != "auto":
        return config.mixed_precision
    if checkpoint is not None:
        return checkpoints.about(checkpoint)["mixed_precision"]
    if (asked := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) != "no":
        return asked
    return broadcast_object_list(["bf16" if _bf16_is_faster(device_of(PartialState())) else "no"])[0]


def _bf16_is_faster(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bf16_cost() < 0.7


@cache
def bf16_cost() -> float:
    """The time of a matrix product in bf16 on this CPU, relative to fp32; measured once per process."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            torch.matmul(matrix, matrix)
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.bfloat16] / seconds[torch.float32]


def warn_of_slow_bf16(settings: dict[str, str], device: torch.device) -> None:
    """Warn about settings (name → value) that ask for bf16 on a CPU that is faster in fp32."""
    asking = [f"{name} {value}" for name, value in settings.items() if value in ("bf16", "bfloat16")]
    if asking and device.type == "cpu" and (cost := bf16_cost()) > 1:
        logger.warning(
            "A matrix product takes %.1f times as long in bf16 as in fp32 on this CPU: leave %s out, unless memory is "
            "short.",
            cost,
            " and ".join(asking),
        )

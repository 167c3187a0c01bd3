"""This process among those that run together."""

import os

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def this_process() -> PartialState:
    """Accelerate's state; to be asked for before anything else asks Accelerate.

    Left alone, Accelerate takes each of several processes on CPUs (`torchrun --nproc_per_node 2`) for the only one.
    """
    one_of_several = "LOCAL_RANK" in os.environ and not torch.accelerator.is_available()
    return PartialState(cpu=one_of_several or parse_flag_from_env("ACCELERATE_USE_CPU"))

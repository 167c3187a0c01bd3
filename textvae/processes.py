"""This process among those that run together."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env

from textvae.errors import InputError

T = TypeVar("T")


def this_process() -> PartialState:
    """Accelerate's state; to be asked for before anything else asks Accelerate.

    Left alone, Accelerate takes each of several processes on CPUs (`torchrun --nproc_per_node 2`) for the only one.
    """
    one_of_several = "LOCAL_RANK" in os.environ and not torch.accelerator.is_available()
    state = PartialState(cpu=one_of_several or parse_flag_from_env("ACCELERATE_USE_CPU"))
    if state.device.type == "cpu" and state.num_processes == 1 and _launched_on_one_thread():
        torch.set_num_threads(torch.get_num_interop_threads())  # the cores; the launcher's variable spares this one
    return state


def _launched_on_one_thread() -> bool:
    """`accelerate launch` gives a single process one thread unless told otherwise, and leaves the other cores idle."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1"


def main_first(work: Callable[[], T]) -> T:
    """What `work` gives on each process, the main one first, whose InputError is then everyone's."""
    is_main, result, error = PartialState().is_main_process, None, None
    if is_main:
        try:
            result = work()
        except InputError as reason:
            error = reason
    (error,) = broadcast_object_list([error])
    if error is not None:
        raise error
    return result if is_main else work()


def from_main(work: Callable[[], T]) -> T:
    """What `work` gives on the main process, for all."""
    is_main = PartialState().is_main_process
    return broadcast_object_list([main_first(lambda: work() if is_main else None)])[0]

"""This process among those that run together."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from torch import Tensor

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


def forget_precision() -> None:
    """Let the next Accelerator have another precision than an earlier one of this process, as in a notebook."""
    AcceleratorState._reset_state()


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


def gather_entries(found: dict) -> dict:
    """The entries of every process's dictionary, in one."""
    if PartialState().num_processes == 1:
        return found
    return dict(item for part in gather_object([list(found.items())]) for item in part)


def gather_rows(pairs: list[tuple[Sequence[int], dict]]) -> dict:
    """Values of texts that the processes found batch by batch, in the order of the texts' indices.

    Args:
        pairs: for each batch of this process the indices of its texts, and by name one value for each of them.

    Returns:
        by name, the values of all n texts: tensors (n, …) or lists of n.
    """
    found = {}
    for indices, terms in pairs:
        for row, index in enumerate(indices):
            found[index] = {name: values[row] for name, values in terms.items()}
    found = gather_entries(found)
    rows = [found[index] for index in sorted(found)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: torch.stack(c) if isinstance(c[0], Tensor) else c for name, c in columns.items()}


def best_device() -> str:
    """CUDA where there is a GPU of it, else Apple's GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

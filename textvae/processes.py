"""Runs with several processes: their state, and results shared between them."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from torch import Tensor

from textvae.cores import usable_cores
from textvae.errors import InputError

T = TypeVar("T")


def this_process() -> PartialState:
    """The state of Accelerate. Call this before anything else uses Accelerate.

    Otherwise Accelerate would treat each of several processes on CPUs (`torchrun --nproc_per_node 2`) as the only one.
    """
    one_of_several = "LOCAL_RANK" in os.environ and not torch.accelerator.is_available()
    state = PartialState(cpu=one_of_several or parse_flag_from_env("ACCELERATE_USE_CPU"))
    if state.num_processes == 1:
        _choose_threads(device_of(state))
    return state


def _choose_threads(device: torch.device) -> None:
    """Have no more threads than cores that this process may use; a number that the user chose stays."""
    if device.type == "cpu" and _launched_on_one_thread():
        torch.set_num_threads(min(torch.get_num_interop_threads(), usable_cores()))  # OMP_NUM_THREADS limits neither
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))


def device_of(state: PartialState) -> torch.device:
    """The device of a process; Accelerate sets it when the state is made."""
    return cast(torch.device, state.device)


def forget_precision() -> None:
    """Allow the next Accelerator of this process another precision than the last one, as in a notebook."""
    AcceleratorState._reset_state()


def _launched_on_one_thread() -> bool:
    """Whether `accelerate launch` set one thread, its default for a single process, which leaves other cores idle."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1"


def main_first(work: Callable[[], T]) -> T:
    """Return the result of `work` on each process; the main process runs first, and all raise its errors of input."""
    is_main, result, error = PartialState().is_main_process, None, None
    if is_main:
        try:
            result = work()
        except (InputError, OSError) as reason:
            error = reason
    # Not every OSError of a library can be pickled.
    (told,) = broadcast_object_list([OSError(str(error)) if isinstance(error, OSError) else error])
    if told is not None:
        raise error or told
    return cast(T, result) if is_main else work()


def from_main(work: Callable[[], T]) -> T:
    """Return the result of `work` on the main process, on all processes."""
    is_main = PartialState().is_main_process
    return cast(T, broadcast_object_list([main_first(lambda: work() if is_main else None)])[0])


def say(text: str) -> None:
    """Print on the main process; a character that standard output cannot write becomes a question mark."""
    if this_process().is_main_process:
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), flush=True)


def reduced(accelerator: Accelerator, tensor: Tensor, how: str) -> Tensor:
    """The `sum` or `mean` of a tensor over the processes; Accelerate reduces dictionaries, too, and has no type."""
    return cast(Tensor, accelerator.reduce(tensor, how))


def gathered(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """The tensors of all processes, one behind the other."""
    return cast(Tensor, accelerator.gather(tensor))


def gather_entries(found: dict) -> dict:
    """The entries of the dictionaries of all processes, in one dictionary."""
    if PartialState().num_processes == 1:
        return found
    return dict(item for part in gather_object([list(found.items())]) for item in part)


def gather_rows(pairs: list[tuple[Sequence[int], dict]]) -> dict:
    """Collect the values of all texts from all processes, in the order of the texts' indices.

    Args:
        pairs: for each batch of this process, the indices of its texts and, by name, one value per text.

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
    """`cuda` if it is available, else `mps` (Apple's GPU) if it is available, else `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

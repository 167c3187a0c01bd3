"""The claim of a run on its directory, which two runs at a time would spoil."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from textvae.errors import InputError
from textvae.processes import from_main, this_process

LOCK = ".lock"  # held by the operating system, so that no claim outlives its process


@contextmanager
def claimed(output_dir: Path) -> Iterator[None]:
    """A context in which this run, with all its processes, is the only one in the directory.

    Raises:
        InputError: if another run is at work there, or the directory cannot be made.
    """
    this_process()
    with ExitStack() as held:
        from_main(lambda: held.enter_context(_locked(output_dir)) and None)
        yield


def unwritable(output_dir: Path, error: OSError) -> InputError:
    return InputError(f"{output_dir} cannot be written to ({error.strerror}): give another --output_dir.")


@contextmanager
def _locked(output_dir: Path) -> Iterator[None]:
    made = [path for path in (output_dir, *output_dir.parents) if not path.exists()]
    lock = FileLock(output_dir / LOCK, timeout=0)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(f"Another run is at work in {output_dir}: give another --output_dir, or wait.") from error
    except FileExistsError as error:
        raise InputError(f"{output_dir} is a file: give another --output_dir.") from error
    except OSError as error:
        raise unwritable(output_dir, error) from error
    try:
        yield
    finally:
        (output_dir / LOCK).unlink(missing_ok=True)
        lock.release()
        for path in made:  # where nothing was written, as the input could not be used
            with suppress(OSError):
                path.rmdir()

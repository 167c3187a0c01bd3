"""The command line: one sentence and exit code 2 for bad input and for files that cannot be read or written."""

import atexit
import io
import logging
import os
import sys
from collections.abc import Callable

import datasets
import transformers

from textvae.errors import InputError
from textvae.files import brief
from textvae.processes import this_process


def run(main: Callable[[], object]) -> None:
    """Call `main`; an `InputError` or `OSError` becomes one sentence on stderr and exit code 2."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity(logging.CRITICAL)  # its errors become an InputError
    state = this_process()
    logging.basicConfig(format="%(message)s", level=logging.WARNING if state.is_main_process else logging.ERROR)
    logging.getLogger("accelerate.utils").setLevel(logging.ERROR)  # speaks of tied weights at every checkpoint
    atexit.register(state.destroy_process_group)
    for stream in (sys.stdout, sys.stderr):  # `--help` on a terminal that is not in UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        main()
    except InputError as error:
        if state.is_main_process:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _sentence(error: OSError) -> str:
    """One sentence about a file that cannot be read or written, a full disk, or a Hub that does not answer."""
    if error.filename is None or error.strerror is None:
        return f"{brief(error)}: check that all files and directories can be read and written."
    return (
        f"{error.filename} cannot be read or written ({error.strerror}): check its path, its permissions and the space "
        "on its disk."
    )

"""The command line: one sentence and exit code 2 for bad input."""

import atexit
import io
import logging
import sys
from collections.abc import Callable

import datasets
import transformers

from textvae.errors import InputError
from textvae.processes import this_process


def run(main: Callable[[], object]) -> None:
    """Call `main`; an `InputError` becomes one sentence on stderr and exit code 2."""
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
    except KeyboardInterrupt:
        sys.exit(130)

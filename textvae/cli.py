"""The command line of the recipes: flags, one sentence and exit code 2 for bad input."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches

import transformers
from accelerate import PartialState

from textvae.errors import InputError
from textvae.training_config import TrainingConfig, read_yaml


def run(main: Callable[[], None]) -> None:
    """Calls `main`; an `InputError` becomes one sentence on stderr and exit code 2."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        main()
    except InputError as error:
        if PartialState().is_main_process:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def parse_training_config(description: str, arguments: Sequence[str] | None = None) -> TrainingConfig:
    """A config from `--config FILE.yaml` and `--name value` flags, which win.

    Raises:
        InputError: for an unknown flag or name, with the nearest right one.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", help="a YAML file of settings; the flags below override it")
    for field in fields(TrainingConfig):
        bare = {"nargs": "?", "const": "true"} if field.type is bool else {}
        if str(field.type).startswith("list"):
            bare = {"nargs": "+"}
        parser.add_argument(f"--{field.name}", default=argparse.SUPPRESS, metavar=str(field.type), **bare)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        names = [f"--{field.name}" for field in fields(TrainingConfig)]
        nearest = get_close_matches(unknown[0], names, n=1, cutoff=0)[0]
        raise InputError(f"There is no flag {unknown[0]!r}; did you mean {nearest!r}?")
    flags = vars(known)
    file = flags.pop("config")
    return TrainingConfig.from_dict((read_yaml(file) if file else {}) | flags)

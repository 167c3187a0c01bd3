"""Fields of a config as flags of a command line."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from textvae.config_fields import kind_of_value, nearest, read_yaml
from textvae.errors import InputError
from textvae.training.config import TrainingConfig

FILE_HELP = "texts: files, patterns or directories of txt, csv, tsv, jsonl, parquet or arrow"


def add_flags(parser: argparse.ArgumentParser, config: type, defaults: dict[str, str] | None = None) -> None:
    """Add a flag for each field of a config; a flag that is not given is not in the result either.

    Args:
        defaults: what `--help` says of defaults that are not those of the config.
    """
    values = asdict(config())
    for field in fields(config):
        several = {"nargs": "+", "action": "extend"}
        number: dict[str, Any] = {
            bool: {"nargs": "?", "const": "true"},
            list[str]: several,
            list[str] | None: several,
        }.get(field.type, {})
        default = (defaults or {}).get(field.name, json.dumps(values[field.name], ensure_ascii=False))
        parser.add_argument(
            f"--{field.name}",
            default=argparse.SUPPRESS,
            metavar=kind_of_value(field),
            help=f"{field.metadata['explanation']} (default: {default})".replace("%", "%%"),
            **number,
        )


def flags_of(config: type, arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags that `add_flags` added for this config and that were given."""
    given = vars(arguments)
    return {field.name: given[field.name] for field in fields(config) if field.name in given}


def parse_training_config(description: str | None, arguments: Sequence[str] | None = None) -> TrainingConfig:
    """Read a config from `--config FILE.yaml` and `--name value` flags, which win.

    Raises:
        InputError: for an unknown flag or name, with the nearest right one.
    """
    parser = argparse.ArgumentParser(
        usage="%(prog)s [--config FILE.yaml] [--name value ...]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="a YAML file of settings; the flags below override it")
    flags = parse_with_training_flags(parser, arguments)
    file = flags.pop("config")
    return TrainingConfig.from_dict((read_yaml(file) if file else {}) | flags)


def parse_with_training_flags(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> dict:
    """Read the parser's own arguments, and settings of TrainingConfig that are given as flags.

    Raises:
        InputError: for an unknown flag, with the nearest right one.
    """
    add_flags(parser, TrainingConfig)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        flag, names = unknown[0].split("=")[0], [*(field.name for field in fields(TrainingConfig)), *vars(known)]
        raise InputError(f"There is no flag {flag!r}; did you mean '--{nearest(flag.strip('-'), names)}'?")
    return vars(known)

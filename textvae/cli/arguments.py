"""The parser of a command, and the fields of a config as its flags."""

import argparse
import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from textvae.config_fields import kind_of_value, nearest, read_yaml
from textvae.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from textvae.training.config import TrainingConfig

T = TypeVar("T", bound="DataclassInstance")

FILE_HELP = "texts: files, patterns or directories of txt, csv, tsv, jsonl, parquet or arrow"


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and raises InputError in place of printing its usage."""

    def __init__(self, **options):
        options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False} | options
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:].rstrip('.')}: see {self.prog} --help.")

    def parse_args(self, args=None, namespace=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """The arguments; raises InputError for an unknown flag, with the nearest right one."""
        arguments, unknown = self.parse_known_intermixed_args(args, namespace)  # texts behind flags, too
        self.refuse(unknown)
        return arguments

    def refuse(self, unknown: list[str]) -> None:
        """Raises InputError for the first of these words, if there is one."""
        if not unknown:
            return
        flag = unknown[0].split("=")[0]
        if not flag.startswith("-"):
            raise InputError(f"{flag!r} is one argument too many: see {self.prog} --help.")
        flags = [name.strip("-") for name in self._option_string_actions]
        raise InputError(f"There is no flag {flag!r}; did you mean '--{nearest(flag.strip('-'), flags)}'?")


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


def settings_of(config: type[T], arguments: argparse.Namespace) -> T:
    """The config with the flags that were given; raises InputError for a value of the wrong type or out of range."""
    return config(**flags_of(config, arguments))


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and a flag for each setting of a run."""
    from textvae.training.config import TrainingConfig

    parser.usage = "%(prog)s [--config FILE.yaml] [--name value ...]"
    parser.add_argument("--config", help="a YAML file of settings; the flags below override it")
    add_flags(parser, TrainingConfig)


def training_config(arguments: argparse.Namespace) -> "TrainingConfig":
    """The settings of the YAML file of `--config` and of the flags, which win.

    Raises:
        InputError: for an unknown name, with the nearest right one.
    """
    from textvae.training.config import TrainingConfig

    file = read_yaml(arguments.config) if arguments.config else {}
    return TrainingConfig.from_dict(file | flags_of(TrainingConfig, arguments))

"""Settings: dataclass fields with an explanation and a range, read from YAML and command lines; arguments too."""

import math
import numbers
import types
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import yaml

from textvae.errors import InputError, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Range:
    """The allowed range of a number, and its description for an error message."""

    wanted: str
    contains: Callable[[float], bool]


COUNT = Range("at least 1", lambda value: value >= 1)
FINITE = Range("a finite number", math.isfinite)
POSITIVE = Range("a finite number above 0", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = Range("a finite number, at least 0", lambda value: 0 <= value < math.inf)
SHARE = Range("from 0 to 1", lambda value: 0 <= value <= 1)
_TOO_LARGE = 2**63  # for torch, as a whole number
SEED = Range("from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32)


def setting(default: Any, explanation: str, within: Range | None = None) -> Any:
    """A dataclass field; `--help` shows its `explanation`, and None is within every range."""
    metadata = {"explanation": explanation, "within": within}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def whole(name: str, value: Any, within: Range = COUNT) -> int:
    """An argument that is a whole number, of Python or numpy.

    Raises:
        InputError: if it is of another type (True and 1.0 are no whole numbers), or out of its range.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}, it must be a whole number.")
    if int(value) >= _TOO_LARGE:
        raise InputError(f"{name} is {shown(value)}, it must be below 2**63.")
    return _within(name, int(value), within)


def number(name: str, value: Any, within: Range) -> float:
    """An argument that is a number, of Python or numpy.

    Raises:
        InputError: if it is of another type, or out of its range.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}, it must be a number.")
    try:
        return _within(name, float(value), within)
    except OverflowError:
        return _within(name, math.inf, within)


def flag(name: str, value: Any) -> bool:
    """An argument that is True or False, of Python or numpy; raises InputError for another type."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {shown(value)}, it must be True or False.")
    return bool(value)


def _within(name: str, value: Any, within: Range) -> Any:
    if not within.contains(value):
        raise InputError(f"{name} is {shown(value)}, it must be {within.wanted}.")
    return value


def same_setting(config: type, name: str, **changes: Any) -> Any:
    """The field `name` of another config, so that a setting of both configs is described once.

    `changes` may give another `default` or `explanation`.
    """
    one = next(one for one in fields(config) if one.name == name)
    return setting(**{"default": one.default, **one.metadata, **changes})


def from_names(config: type[T], values: dict[str, Any]) -> T:
    """Build a config from names and values, each converted to the type of its field (`1e-3` of YAML to a number).

    Raises:
        InputError: for an unknown name (the message suggests the nearest one), or a value of the wrong type or out of
            its range.
    """
    known = [one.name for one in fields(config)]
    for name in values:
        if name not in known:
            raise InputError(f"There is no setting {name!r}; did you mean {nearest(str(name), known)!r}?")
    return config(**values)


def check_settings(config) -> None:
    """Convert each value to the type of its field (`"1e-3"` to a number, one name to a list of one), and check it.

    Raises:
        InputError: for a value of the wrong type, or out of its range.
    """
    hints = get_type_hints(type(config))
    for one in fields(config):
        value = _read(one.name, getattr(config, one.name), hints[one.name])
        setattr(config, one.name, value)
        within = one.metadata["within"]
        if within is not None and value is not None and not within.contains(value):
            or_none = ", or left out" if type(None) in get_args(hints[one.name]) else ""
            raise InputError(f"{one.name} is {value}, it must be {within.wanted}{or_none}.")


def read_yaml(path: str | Path) -> dict:
    """The names and values of a YAML file.

    Raises:
        InputError: if the file is missing, or is not YAML with one value per name.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values or {}, dict):
        raise InputError(f"{path} must hold lines of `name: value`.")
    return values or {}


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant: the first that contains `name`, else the most similar one."""
    longer = (right for right in known if f"_{name}_" in f"_{right}_")
    return next(longer, get_close_matches(name, known, n=1, cutoff=0)[0])


def kind_of_value(one: Field) -> str:
    """The type of a field, as `--help` shows it."""
    if get_origin(one.type) is Literal:
        return "|".join(get_args(one.type))
    if isinstance(one.type, type) and get_origin(one.type) is None:
        return one.type.__name__
    return str(one.type).removesuffix(" | None").removeprefix("list").strip("[]")


def _read(name: str, value: Any, hint: Any) -> Any:
    """Convert `value`, possibly a string from the command line or from YAML, to the type `hint`."""
    value = value.item() if isinstance(value, np.generic) else value
    if get_origin(hint) in (Union, types.UnionType):
        is_none = isinstance(value, str | list) and value in ("none", "None", "null", ["none"])
        if value is None or is_none:  # the last of a flag with several values
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    try:
        return _as(value, hint)
    except (TypeError, ValueError, OverflowError, yaml.YAMLError) as error:
        kind = getattr(hint, "__name__", str(hint))
        choices = f"one of {', '.join(get_args(hint))}" if get_origin(hint) is Literal else f"of type {kind}"
        raise InputError(f"{name} must be {choices}, not {shown(value)}.") from error


def _as(value: Any, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        value = "no" if value is False else value  # YAML reads a bare `no` as False
        if value not in get_args(hint):
            raise ValueError
        return value
    if hint in (bool, dict):
        value = yaml.safe_load(value) if isinstance(value, str) else value
        if not isinstance(value, hint):
            raise ValueError
        return value
    if get_origin(hint) is list:
        values = value if isinstance(value, list) else [value]
        return [] if values == ["none"] else [_as(item, str) for item in values]
    if value is None or isinstance(value, (bool, list, dict)):
        raise ValueError
    if hint is int and (float(value) % 1 or float(value) >= _TOO_LARGE):
        raise ValueError
    return int(float(value)) if hint is int else hint(value)

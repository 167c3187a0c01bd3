"""InputError: the error for input that cannot be used, and for an extra that is not installed."""

from importlib.util import find_spec
from reprlib import Repr

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 50


class InputError(ValueError):
    """The input of the user cannot be used; the message is one sentence: what is wrong, and what to do."""


def require_extra(module: str, package: str, extra: str, what: str) -> None:
    """Raises InputError without this package, which `what` needs and an extra of textvae brings."""
    if find_spec(module) is None:
        raise InputError(f"{what} needs the package {package}: pip install 'textvae[{extra}]'.")


def require_scikit_learn(what: str = "judge_encoder") -> None:
    """Raises InputError without scikit-learn, an extra, which `what` needs."""
    require_extra("sklearn", "scikit-learn", "judge", what)


def shown(value: object) -> str:
    """A value as a sentence shows it: on one line, and a long one cut."""
    return " ".join(_SHORT.repr(value).split())

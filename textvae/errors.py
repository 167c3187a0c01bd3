"""InputError: the error for input that cannot be used."""

from reprlib import Repr

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 50


class InputError(ValueError):
    """The input of the user cannot be used; the message is one sentence: what is wrong, and what to do."""


def shown(value: object) -> str:
    """A value as a sentence shows it: on one line, and a long one cut."""
    return " ".join(_SHORT.repr(value).split())

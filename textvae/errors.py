"""InputError: the error for input that cannot be used."""


class InputError(ValueError):
    """The input of the user cannot be used; the message is one sentence: what is wrong, and what to do."""

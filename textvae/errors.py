"""The one error that means: what was given cannot be used."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that names the thing and the way out."""

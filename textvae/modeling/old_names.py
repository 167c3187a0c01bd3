"""Names that weights had in older versions of textvae, so that their files and checkpoints still open."""

import re

from torch import Tensor, nn

OLD_NAMES = {
    r"^pooling\.": "posterior.pooling.",
    r"^to_mean\.": "posterior.to_mean.",
    r"^to_logvar\.": "posterior.to_logvar.",
    r"^mean_norm\.": "posterior.mean_norm.",
    r"^to_embedding\.": "injection.to_embedding.",
    r"^to_prefix\.": "injection.to_prefix.",
    r"^to_output\.": "injection.to_output.",
    r"^label_to_": "label_vectors.to_",
}


def renamed(name: str) -> str:
    """The name that a weight has today."""
    for pattern, replacement in OLD_NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def before(name: str) -> str:
    """The name that a weight of today had in older versions."""
    for today, old in (("posterior.", ""), ("injection.", ""), ("label_vectors.", "label_")):
        if name.startswith(today):
            return old + name.removeprefix(today)
    return name


def rename_old(module: nn.Module, state: dict[str, Tensor], prefix: str, *args) -> None:
    """A hook of `load_state_dict` that gives old entries of the state dictionary their names of today."""
    for name in list(state):
        if name.startswith(prefix):
            state[prefix + renamed(name.removeprefix(prefix))] = state.pop(name)

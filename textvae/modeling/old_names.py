"""Names that weights had in older versions of textvae, so that their files and checkpoints still open."""

import re

from torch import Tensor, nn

_TODAY = {
    "pooling.": "posterior.pooling.",
    "to_mean.": "posterior.to_mean.",
    "to_logvar.": "posterior.to_logvar.",
    "mean_norm.": "posterior.mean_norm.",
    "to_embedding.": "injection.to_embedding.",
    "to_prefix.": "injection.to_prefix.",
    "to_output.": "injection.to_output.",
    "label_to_": "label_vectors.to_",
}  # how a name began → how it begins today
OLD_NAMES = {f"^{re.escape(old)}": today for old, today in _TODAY.items()}  # as transformers takes them


def renamed(name: str) -> str:
    """The name that a weight has today."""
    return _with_start(name, _TODAY)


def before(name: str) -> str:
    """The name that a weight of today had in older versions."""
    return _with_start(name, {today: old for old, today in _TODAY.items()})


def _with_start(name: str, starts: dict[str, str]) -> str:
    for start, other in starts.items():
        if name.startswith(start):
            return other + name.removeprefix(start)
    return name


def rename_old(module: nn.Module, state: dict[str, Tensor], prefix: str, *args) -> None:
    """A hook of `load_state_dict` that gives old entries of the state dictionary their names of today."""
    for name in list(state):
        if name.startswith(prefix):
            state[prefix + renamed(name.removeprefix(prefix))] = state.pop(name)

"""Directions of the latent space along which an attribute of texts changes.

N texts · Z latent_size
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from textvae.config_fields import nearest
from textvae.errors import InputError, require_scikit_learn, shown

METHODS = ("mean", "logistic")
_NAME = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)  # a key that is safe in any file
_SPACE, _STEP = "space", "step."  # the tensors in a file


class Directions:
    """Steps in the latent space of one model, by the name of the attribute that they change.

    Attributes:
        space: (Z,), numbers by which the model is known; `belong_to` compares them with those of another.
        steps: of each name (Z,). To go one step from a text of the negative class leads as far as the means of the two
            classes are apart along the direction.
    """

    def __init__(self, space: Tensor, steps: Mapping[str, Tensor] | None = None):
        self.space, self.steps = space, dict(steps or {})

    def fit(
        self, name: str, latents: Tensor, is_positive: Tensor, lengths: Tensor, method: str = "mean"
    ) -> "Directions":
        """These directions and a new one, or one in place of that with the same name; see [`fit_step`].

        Raises:
            InputError: also for a name with other characters than letters and digits of ASCII, `_`, `-` and `.`.
        """
        check_name(name)
        return Directions(self.space, {**self.steps, name: fit_step(latents, is_positive, lengths, method)})

    def step(self, name: str) -> Tensor:
        """The step with this name (Z,); raises InputError if there is none, with the nearest right name."""
        if not isinstance(name, str) or name not in self.steps:
            there = (
                f"did you mean {nearest(str(name), self.steps)!r}?"
                if self.steps
                else "fit one with fit_direction, or on the command line by `--positive` and `--negative`."
            )
            raise InputError(f"There is no direction {shown(name)}; {there}")
        return self.steps[name]

    def belong_to(self, space: Tensor) -> bool:
        """Whether they are of the model with these numbers, in whatever precision it was opened: within 1 %."""
        return self.space.shape == space.shape and torch.allclose(self.space, space, rtol=0.01)

    def save(self, path: Path) -> None:
        """Write them to a safetensors file."""
        steps = {f"{_STEP}{name}": step.contiguous() for name, step in self.steps.items()}
        save_file({_SPACE: self.space.contiguous(), **steps}, path, {"directions": "textvae"})

    @classmethod
    def load(cls, path: str | Path) -> "Directions":
        """What `save` wrote; raises InputError if the file holds anything else."""
        try:
            tensors = load_file(path)
            space = tensors.pop(_SPACE)
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path} holds no directions: save the model again, or delete this file.") from error
        usable = all(step.shape == space.shape and step.isfinite().all() for step in tensors.values())
        if space.dim() != 1 or not usable or not all(name.startswith(_STEP) for name in tensors):
            raise InputError(f"{path} holds no directions: save the model again, or delete this file.")
        return cls(space, {name.removeprefix(_STEP): step for name, step in tensors.items()})


def check_name(name: str) -> None:
    """Raises InputError for a name that cannot be the key of a direction."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"The name of a direction is {shown(name)}: use letters, digits, '_', '-' and '.', at most 100."
        )


def check_method(method: str) -> None:
    """Raises InputError for another method than those of `fit_step`, or without the package that it needs."""
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"method must be 'mean' or 'logistic', not {shown(method)}.")
    if method == "logistic":
        require_scikit_learn("method logistic")


def fit_step(latents: Tensor, is_positive: Tensor, lengths: Tensor, method: str = "mean") -> Tensor:
    """The step from the negative to the positive class: (Z,).

    Its direction is that of

    - `mean`: the difference of the means of the two classes (Larsen et al. 2016, section 3.2);
    - `logistic`: the normal of the hyperplane by which a logistic regression tells them apart (Shen et al. 2020);

    without its component along the [`length_direction`], so that the length that a linear regression reads from z stays
    as it is. Its norm is the distance of the two means along it: a step takes one mean to the other, as seen along it.

    Args:
        latents: (N, Z), posterior means.
        is_positive: (N,), bool.
        lengths: (N,), of the texts.

    Raises:
        InputError: if there are fewer texts than dimensions, one class has none, a z is not finite, the classes do not
            differ, or the method is unknown.
    """
    check_method(method)
    check_classes(is_positive, latents.shape[1])
    if not latents.isfinite().all():
        raise InputError("A direction cannot be fitted to z that are not finite: train the model anew.")
    latents = latents.double()
    apart = latents[is_positive].mean(0) - latents[~is_positive].mean(0)  # (Z,)
    direction = _probe(latents, is_positive) if method == "logistic" else apart
    direction = _without(direction, length_direction(latents, is_positive, lengths))
    step = direction * (direction @ apart) / (direction @ direction).clamp(min=1e-300)
    if step.norm() < 1e-6 * (1 + latents.abs().max()):
        raise InputError("The z of the two classes do not differ, except by length: give other texts.")
    return step.float()


def length_direction(latents: Tensor, is_positive: Tensor, lengths: Tensor) -> Tensor:
    """The unit vector (Z,) of the least-squares regression of length on z within the classes; 0 if all are as long."""
    inside, longer = latents.double().clone(), lengths.double().clone()
    for own in (is_positive, ~is_positive):  # what the classes differ by is no matter of length
        inside[own] -= inside[own].mean(0)
        longer[own] -= longer[own].mean()
    weights = torch.linalg.lstsq(inside, longer[:, None], driver="gelsd").solution[:, 0]
    return torch.nn.functional.normalize(weights, dim=0)


def check_classes(is_positive: Tensor, latent_size: int) -> None:
    """Raises InputError if one class has no texts, or there are fewer texts than dimensions."""
    positive = int(is_positive.sum())
    for kind, count in (("positive", positive), ("negative", len(is_positive) - positive)):
        if count == 0:
            raise InputError(f"A direction is fitted to texts of two classes, and none is {kind}: give some.")
    if len(is_positive) < latent_size:
        raise InputError(
            f"There are {len(is_positive)} texts for the {latent_size} dimensions of z: give at least {latent_size}, "
            "better ten times as many."
        )


def _probe(latents: Tensor, is_positive: Tensor) -> Tensor:
    """The weights (Z,) of a logistic regression in double precision."""
    from sklearn.linear_model import LogisticRegression

    probe = LogisticRegression(max_iter=1000).fit(latents.numpy(), is_positive.numpy())
    return torch.from_numpy(probe.coef_[0]).to(latents)


def _without(direction: Tensor, unit: Tensor) -> Tensor:
    return direction - (direction @ unit) * unit

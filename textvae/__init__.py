"""Text VAEs for people who work with language: encode, sample, interpolate, paraphrase, with bounds in nats.

Each name below is imported when it is first used: torch takes seconds, and `textvae --help` does without it. Importing
any of them, or `textvae.modeling`, registers the models with `AutoConfig` and `AutoModel`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textvae.errors import InputError
    from textvae.evaluation.evaluate import evaluate
    from textvae.evaluation.likelihood import importance_weighted_nll
    from textvae.modeling.autoencoder import TextVAEModel, TextVAEOutput
    from textvae.modeling.configuration import TextVAEConfig
    from textvae.modeling.gru import GRUConfig, GRUForCausalLM, GRUModel
    from textvae.objectives.schedules import KLSchedule
    from textvae.objectives.terms import negative_elbo
    from textvae.pipeline.pipeline import TextVAEPipeline
    from textvae.training.config import TrainingConfig
    from textvae.training.train import train

__version__ = "0.1.0"
__all__ = [
    "GRUConfig",
    "GRUForCausalLM",
    "GRUModel",
    "InputError",
    "KLSchedule",
    "TextVAEConfig",
    "TextVAEModel",
    "TextVAEOutput",
    "TextVAEPipeline",
    "TrainingConfig",
    "evaluate",
    "importance_weighted_nll",
    "negative_elbo",
    "train",
]

_HOMES = {
    "errors": ["InputError"],
    "evaluation": ["evaluate", "importance_weighted_nll"],
    "modeling": ["GRUConfig", "GRUForCausalLM", "GRUModel", "TextVAEConfig", "TextVAEModel", "TextVAEOutput"],
    "objectives": ["KLSchedule", "negative_elbo"],
    "pipeline": ["TextVAEPipeline"],
    "training": ["TrainingConfig", "train"],
}


def __getattr__(name: str) -> Any:
    for room, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"textvae.{room}"), name)
    raise AttributeError(f"module 'textvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

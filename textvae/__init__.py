"""Text VAEs for people who work with language: encode, sample, interpolate, paraphrase, with bounds in nats."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from textvae.configuration import TextVAEConfig
from textvae.errors import InputError
from textvae.evaluation import evaluate
from textvae.gru import GRUConfig, GRUForCausalLM, GRUModel
from textvae.likelihood import importance_weighted_nll
from textvae.modeling import TextVAEModel, TextVAEOutput
from textvae.objectives import negative_elbo
from textvae.pipeline import TextVAEPipeline
from textvae.schedules import KLSchedule
from textvae.training import train
from textvae.training_config import TrainingConfig

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

AutoConfig.register("gru", GRUConfig)
AutoModel.register(GRUConfig, GRUModel)
AutoModelForCausalLM.register(GRUConfig, GRUForCausalLM)
AutoConfig.register("textvae", TextVAEConfig)
AutoModel.register(TextVAEConfig, TextVAEModel)

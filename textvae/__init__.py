"""Text VAEs for people who work with language: encode, sample, interpolate, paraphrase, with bounds in nats."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

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

AutoConfig.register("gru", GRUConfig)
AutoModel.register(GRUConfig, GRUModel)
AutoModelForCausalLM.register(GRUConfig, GRUForCausalLM)
AutoConfig.register("textvae", TextVAEConfig)
AutoModel.register(TextVAEConfig, TextVAEModel)

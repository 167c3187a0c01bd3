"""The optimizer of a run, the average of its weights, and a new start of its decoder."""

import torch

from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.families import token_embeddings
from textvae.training.averaging import WeightAverage
from textvae.training.config import TrainingConfig


def reset_decoder(model: TextVAEModel, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """Draw new weights for all decoding modules, and clear their state in the optimizer (Li et al. 2019).

    Embeddings that the encoder shares stay as they are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not the generator of a GPU, which differs between processes
        held = {part: model.part(part) for part in model.config.base or {}}  # a frozen encoder
        fresh = TextVAEModel(model.config, **held)
    kept = {*model.encoder.parameters()} if model.encoder is not None else set()
    if model.config.tie_encoder_embeddings:
        token_embeddings(fresh.decoder).weight.data.copy_(token_embeddings(model.decoder).weight.data)
    modules = fresh.decoding_modules()
    for name, module in model.decoding_modules().items():
        module.load_state_dict(modules[name].state_dict())
        for parameter in {*module.parameters()} - kept:
            optimizer.state.pop(parameter, None)


def make_optimizer(config: TrainingConfig, model: TextVAEModel) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) for the trainable parameters, with the learning rate of each part."""
    betas = (config.adam_beta1, config.adam_beta2)
    return torch.optim.AdamW(parameter_groups(model, config), lr=config.learning_rate, betas=betas, fused=True)


def make_average(config: TrainingConfig, model: TextVAEModel, total_steps: int) -> WeightAverage[TextVAEModel]:
    """The average of the weights that `weight_averaging` asks for."""
    start = config.swa_start * total_steps if config.weight_averaging == "swa" else 0
    return WeightAverage(model, config.weight_averaging, config.ema_decay, start)


def parameter_groups(model: TextVAEModel, config: TrainingConfig) -> list[dict]:
    """The trainable parameters in groups: first those with the common learning rate, then parts with their own.

    Weight decay is for matrices only (Loshchilov & Hutter 2019).
    """
    rates = {"encoder": config.encoder_learning_rate, "decoder": config.decoder_learning_rate}
    own = {part: rate for part, rate in rates.items() if rate is not None}
    groups = []
    for part, rate in {None: config.learning_rate, **own}.items():
        found = [p for name, p in model.named_parameters() if p.requires_grad and _group_of(name, own) == part]
        groups.append({"params": [p for p in found if p.dim() > 1], "lr": rate, "weight_decay": config.weight_decay})
        groups.append({"params": [p for p in found if p.dim() <= 1], "lr": rate, "weight_decay": 0.0})
    return groups


def _group_of(name: str, own: dict) -> str | None:
    part = name.partition(".")[0]
    return part if part in own else None

"""The optimizer of a run, the average of its weights, and a new start of its decoder."""

from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from textvae.modeling.adapters import LORA_MARK
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.families import token_embeddings
from textvae.training.averaging import WeightAverage
from textvae.training.config import TrainingConfig
from textvae.training.muon import Muon

GATES = 3  # of a GRU


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
    """The optimizer of the trainable parameters, with the learning rate of each part."""
    kind = Muon if config.optimizer == "muon" else torch.optim.AdamW
    betas = (config.adam_beta1, config.adam_beta2)
    return kind(parameter_groups(model, config), lr=config.learning_rate, betas=betas, fused=True)


def make_average(config: TrainingConfig, model: TextVAEModel, total_steps: int) -> WeightAverage[TextVAEModel]:
    """The average of the weights that `weight_averaging` asks for."""
    start = average_start(config, total_steps)
    return WeightAverage(model, config.weight_averaging, config.ema_decay, start)


def average_start(config: TrainingConfig, total_steps: int) -> float:
    """The step after which weights are averaged."""
    return config.swa_start * total_steps if config.weight_averaging == "swa" else 0


def rate_schedule(config: TrainingConfig, total_steps: int) -> Callable[[int], float]:
    """The share of the learning rate at each step."""
    none = torch.optim.SGD([torch.zeros(())])  # transformers gives the function with an optimizer only
    warmup_steps = int(config.warmup_ratio * total_steps)
    scheduler = cast(LambdaLR, get_scheduler(config.lr_scheduler_type, none, warmup_steps, total_steps))
    return scheduler.lr_lambdas[0]


def set_learning_rates(scheduler, learning_rates: list[float]) -> None:
    """Set the learning rates that a scheduler scales, also for the next step."""
    scheduler.base_lrs = learning_rates
    groups = scheduler.optimizer.param_groups
    for group, rate, schedule in zip(groups, learning_rates, scheduler.lr_lambdas, strict=True):
        group["initial_lr"] = rate
        group["lr"] = rate * schedule(scheduler.last_epoch)


def parameter_groups(model: TextVAEModel, config: TrainingConfig) -> list[dict]:
    """The trainable parameters in groups: first those with the common learning rate, then parts with their own.

    Weight decay is for matrices only (Loshchilov & Hutter 2019). With Muon the hidden matrices of encoder and decoder
    are groups of their own, see [`Muon`].
    """
    rates = {"encoder": config.encoder_learning_rate, "decoder": config.decoder_learning_rate}
    own = {part: rate for part, rate in rates.items() if rate is not None}
    blocks = hidden_matrices(model) if config.optimizer == "muon" else {}
    groups = []
    for part, rate in {None: config.learning_rate, **own}.items():
        found = [p for name, p in model.named_parameters() if p.requires_grad and _group_of(name, own) == part]
        matrices = [p for p in found if p.dim() > 1]
        decay = {"lr": rate, "weight_decay": config.weight_decay}
        groups.append({"params": [p for p in matrices if p not in blocks], **decay})
        groups.append({"params": [p for p in found if p.dim() <= 1], "lr": rate, "weight_decay": 0.0})
        for count in sorted({*blocks.values()}):
            of_count = [p for p in matrices if blocks.get(p) == count]
            groups.append({"params": of_count, "num_blocks": count, **decay})
    return groups


def hidden_matrices(model: TextVAEModel) -> dict[nn.Parameter, int]:
    """The matrices between hidden states of encoder and decoder → the number of equal ones that each stacks.

    Embeddings, the softmax, adapters, and the maps to and from z are none. Nor are the recurrent matrices of a GRU:
    their orthogonal updates would take half of the optimizer's time, and gain nothing.
    """
    found = {}
    for part in (model.encoder, model.decoder):
        for name, module in () if part is None else part.named_modules():
            if isinstance(module, nn.GRU):
                found |= {weight: GATES for name, weight in module.named_parameters() if name.startswith("weight_ih")}
            elif not isinstance(module, nn.Embedding) and module is not model.get_output_embeddings():
                if LORA_MARK not in f".{name}":
                    found |= {weight: 1 for weight in module.parameters(recurse=False) if weight.dim() == 2}
    return found


def _group_of(name: str, own: dict) -> str | None:
    part = name.partition(".")[0]
    return part if part in own else None

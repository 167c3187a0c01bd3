"""Stepper: one optimizer step, from micro-batches to changed weights; and the steps of the encoder alone."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from textvae.modeling.autoencoder import TextVAEModel, TextVAEOutput
from textvae.objectives.terms import maximum_mean_discrepancy, negative_elbo
from textvae.training.collapse import CollapseMonitor
from textvae.training.config import TrainingConfig
from textvae.training.progress import Meter

MOST_ENCODER_STEPS, ENCODER_STEPS = 100, 10  # before each step; and how many losses are compared with as many before


def objective(config: TrainingConfig, output: TextVAEOutput, beta: float, mean_kl: Tensor | None = None) -> Tensor:
    """What a step minimises, in nats per text: the tempered −ELBO, and the terms that the config adds to it.

    Args:
        mean_kl: (Z,), the KL averaged over the texts of all processes; that of the output's own texts when not given.
    """
    loss = negative_elbo(output.reconstruction, output.kl, beta, config.free_bits, config.free_bits_mode, mean_kl)
    if config.bag_of_words_weight:
        loss = loss + config.bag_of_words_weight * output.bag_of_words.mean()
    if config.mmd_weight:
        prior = torch.randn_like(output.latents)
        loss = loss + config.mmd_weight * maximum_mean_discrepancy(output.latents, prior)
    return loss


class Stepper:
    """Optimizer steps on a prepared model.

    Attributes:
        last_batch: the latest micro-batch of this process, on its device.
    """

    def __init__(self, accelerator: Accelerator, config: TrainingConfig, wrapped, optimizer, meter: Meter,
                 monitor: CollapseMonitor, joining: Sequence[nn.Parameter] = (), joins_at: float = 0):  # fmt: skip
        """`joining` are weights that no step before `joins_at` changes."""
        self.accelerator, self.config, self.wrapped, self.optimizer = accelerator, config, wrapped, optimizer
        self.meter, self.monitor = meter, monitor
        self.joining, self.joins_at = joining, joins_at
        self.last_batch: dict[str, Tensor] = {}

    def step(self, micro_batches: list[dict], beta: float, step: int) -> Tensor:
        """One step of all weights; the KL (Z,) of its texts, averaged over micro-batches and processes."""
        kl, _ = self._backward(micro_batches, beta, step, counts=True)
        self._hold_back(self._waiting(step))
        norm = self._clip()
        if self.accelerator.scaler is None:  # which leaves out the steps that overflow fp16
            self.meter.watch("gradient", norm, step)
        self._apply()
        return kl

    def encoder_step(self, micro_batches: list[dict], beta: float, step: int, decoder_parameters: list) -> Tensor:
        """One step of the encoder and the posterior alone; the loss (), averaged over processes."""
        _, loss = self._backward(micro_batches, beta, step, counts=False)
        self._hold_back([*decoder_parameters, *self._waiting(step)])
        self._clip()
        self._apply()
        return self.accelerator.reduce(loss, "mean")

    def _backward(self, micro_batches: list[dict], beta: float, step: int, counts: bool) -> tuple[Tensor, Tensor]:
        """Gradients of one step; the KL (Z,) of its texts and this process's share of the loss ()."""
        accelerator = self.accelerator
        num_texts = [batch["num_texts"] for batch in micro_batches]  # of all processes
        kl = total_loss = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(micro_batches):
            batch = self._on_device(batch)
            with nullcontext() if number + 1 == len(micro_batches) else accelerator.no_sync(self.wrapped):
                output = self.wrapped(**batch)
                kl_sum = accelerator.reduce(output.kl.detach().sum(0), "sum")  # (Z,)
                loss = objective(self.config, output, beta, kl_sum / num_texts[number])
                # Gradients are averaged over processes and summed over micro-batches: every text of the step gets
                # the same weight, also where a last batch is smaller.
                share = len(batch["labels"]) * accelerator.num_processes / sum(num_texts)
                accelerator.backward(loss * share)
            kl, total_loss = kl + kl_sum / sum(num_texts), total_loss + loss.detach() * share
            if counts:
                self.meter.add(output, batch["labels"], loss, step, step * len(micro_batches) + number)
                self.monitor.add(output, batch.get("label_ids"))
            self.last_batch = batch
        return kl, total_loss

    def _on_device(self, batch: dict) -> dict[str, Tensor]:
        device = self.accelerator.device
        return {name: value.to(device, non_blocking=True) for name, value in batch.items() if name != "num_texts"}

    def _waiting(self, step: int) -> Sequence[nn.Parameter]:
        return self.joining if step < self.joins_at else ()

    @staticmethod
    def _hold_back(parameters: Iterable[nn.Parameter]) -> None:
        """Their gradients are thrown away: the optimizer passes over them, and they are not part of the clipped norm.

        They are computed all the same: with several processes each parameter that was trainable when the run began must
        have one in every step, so that the processes can go on together when it is no longer held back.
        """
        for parameter in parameters:
            parameter.grad = None

    def _clip(self) -> Tensor:
        return self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.max_grad_norm)

    def _apply(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def train_encoder(
    stepper: Stepper, model: TextVAEModel, step_batches: Iterator[list[dict]], beta: float, step: int
) -> int:
    """Let the encoder catch up with the decoder before a step (He et al. 2019, algorithm 1).

    Its steps go on until ten losses together are no lower than the ten before, and for at most a hundred.

    Returns:
        The number of steps taken.
    """
    decoder_parameters = [p for module in model.decoding_modules().values() for p in module.parameters()]
    before, taken = math.inf, 0
    while taken < MOST_ENCODER_STEPS:
        batches = islice(step_batches, ENCODER_STEPS)
        losses = [stepper.encoder_step(batch, beta, step, decoder_parameters) for batch in batches]
        taken += ENCODER_STEPS
        loss = float(torch.stack(losses).mean())
        if not loss < before:
            break
        before = loss
    return taken

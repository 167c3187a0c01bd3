"""Stepper: one optimizer step, from micro-batches to new weights; and steps of the encoder alone."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from textvae.data.training_batches import NOT_FOR_THE_MODEL
from textvae.modeling.autoencoder import TextVAEOutput
from textvae.objectives.terms import maximum_mean_discrepancy, negative_elbo
from textvae.processes import reduced
from textvae.training.config import TrainingConfig
from textvae.training.run import Run
from textvae.training.trainable import joining_parameters

MOST_ENCODER_STEPS, ENCODER_STEPS = 100, 10  # of the encoder alone before each step: at most, and at a time


def objective(config: TrainingConfig, output: TextVAEOutput, beta: float, mean_kl: Tensor | None = None) -> Tensor:
    """The loss of a step in nats per text: the tempered −ELBO, and the terms that the config adds to it.

    Args:
        mean_kl: (Z,), the KL averaged over the texts of all processes; if not given, over the texts of `output`.
    """
    loss = negative_elbo(output.reconstruction, output.kl, beta, config.free_bits, config.free_bits_mode, mean_kl)
    if config.bag_of_words_weight:
        loss = loss + config.bag_of_words_weight * cast(Tensor, output.bag_of_words).mean()
    if config.mmd_weight:
        prior = torch.randn_like(output.latents)
        loss = loss + config.mmd_weight * maximum_mean_discrepancy(output.latents, prior)
    return loss


class Stepper:
    """Optimizer steps of a run.

    Attributes:
        last_batch: the latest micro-batch of this process, on its device.
    """

    def __init__(self, run: Run):
        self.run, self.accelerator, self.config = run, run.accelerator, run.config
        self.joining = joining_parameters(run.model)
        self.last_batch: dict[str, Tensor] = {}

    def step(self, micro_batches: list[dict], beta: float) -> Tensor:
        """Take one step of all weights; returns the KL (Z,) of its texts, averaged over micro-batches and processes."""
        kl, _ = self._backward(micro_batches, beta, counts=True)
        self._hold_back(self._waiting())
        norm = self._clip()
        if self.accelerator.scaler is None:  # which leaves out the steps that overflow fp16
            self.run.meter.watch("gradient", norm, self.run.progress.step)
        self._apply()
        return kl

    def encoder_step(self, micro_batches: list[dict], beta: float, decoder_parameters: list[nn.Parameter]) -> Tensor:
        """Take one step of encoder and posterior alone; returns the loss (), averaged over processes."""
        _, loss = self._backward(micro_batches, beta, counts=False)
        self._hold_back([*decoder_parameters, *self._waiting()])
        self._clip()
        self._apply()
        return reduced(self.accelerator, loss, "mean")

    def _backward(self, micro_batches: list[dict], beta: float, counts: bool) -> tuple[Tensor, Tensor]:
        """Compute the gradients of one step; returns the KL (Z,) of its texts and this process's share of the loss ().

        Args:
            counts: whether meter and monitor take notice of it.
        """
        accelerator, step = self.accelerator, self.run.progress.step
        num_texts = [batch["num_texts"] for batch in micro_batches]  # of all processes
        kl = total_loss = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(micro_batches):
            rows, batch = batch.get("rows"), self._on_device(batch)
            with nullcontext() if number + 1 == len(micro_batches) else accelerator.no_sync(self.run.wrapped):
                output = self.run.wrapped(**batch)
                kl_sum = reduced(accelerator, output.kl.detach().sum(0), "sum")  # (Z,)
                loss = objective(self.config, output, beta, kl_sum / num_texts[number])
                if self.run.teacher is not None:
                    difference = self.run.teacher.difference(output.mean, cast(Tensor, rows))
                    loss = loss + self.config.teacher_weight * difference
                # Gradients are averaged over processes and summed over micro-batches: so every text of the step
                # has the same weight, also if a last batch is smaller.
                share = len(batch["labels"]) * accelerator.num_processes / sum(num_texts)
                accelerator.backward(loss * share)
            kl, total_loss = kl + kl_sum / sum(num_texts), total_loss + loss.detach() * share
            if counts:
                self.run.meter.add(output, batch["labels"], loss, step, step * len(micro_batches) + number)
                self.run.monitor.add(output, batch.get("label_ids"))
            self.last_batch = batch
        return kl, total_loss

    def _on_device(self, batch: dict) -> dict[str, Tensor]:
        device = self.accelerator.device
        read = {name: value for name, value in batch.items() if name not in NOT_FOR_THE_MODEL}
        return {name: value.to(device, non_blocking=True) for name, value in read.items()}

    def _waiting(self) -> Sequence[nn.Parameter]:
        """Parameters that the bottleneck phase holds back in this step."""
        joins_at = self.config.bottleneck_phase * self.run.total_steps
        return self.joining if self.run.progress.step < joins_at else ()

    @staticmethod
    def _hold_back(parameters: Iterable[nn.Parameter]) -> None:
        """Drop their gradients, so that the optimizer skips them and the clipped norm leaves them out.

        The gradients are computed all the same: several processes expect one in every step for each parameter that was
        trainable when the run began.
        """
        for parameter in parameters:
            parameter.grad = None

    def _clip(self) -> Tensor:
        norm = self.accelerator.clip_grad_norm_(self.run.wrapped.parameters(), self.config.max_grad_norm)
        return cast(Tensor, norm)

    def _apply(self) -> None:
        self.run.optimizer.step()
        self.run.optimizer.zero_grad()


def train_encoder(stepper: Stepper, step_batches: Iterator[list[dict]], beta: float) -> int:
    """Let the encoder catch up with the decoder before a step (He et al. 2019, algorithm 1).

    It takes ten steps at a time, until their mean loss is not lower than that of the ten before, and at most a hundred.

    Returns:
        The number of steps taken.
    """
    modules = stepper.run.model.decoding_modules().values()
    decoder_parameters = [parameter for module in modules for parameter in module.parameters()]
    before, taken = math.inf, 0
    while taken < MOST_ENCODER_STEPS:
        batches = islice(step_batches, ENCODER_STEPS)
        losses = [stepper.encoder_step(batch, beta, decoder_parameters) for batch in batches]
        taken += ENCODER_STEPS
        loss = float(torch.stack(losses).mean())
        if not loss < before:
            break
        before = loss
    return taken

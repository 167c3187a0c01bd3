"""The batches of a run, and how many steps they make."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from textvae.data.training_batches import LengthGroupedBatches, StreamedBatches
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.training.config import TrainingConfig

# Of a run that is not told how long it is to be. In fewer steps no corpus, however small, teaches a decoder to read z.
DEFAULT_EPOCHS, LEAST_DEFAULT_STEPS = 0.8, 2_400


def make_batches(config, dataset, tokenizer, model: TextVAEModel, accelerator: Accelerator, encoder_tokenizer=None):
    _check_fit(config, dataset, model, accelerator)
    kind = StreamedBatches if config.streaming else LengthGroupedBatches
    return kind(
        dataset,
        tokenizer,
        config.per_device_train_batch_size,
        latent_size=model.config.latent_size,
        seed=config.seed,
        num_processes=accelerator.num_processes,
        process_index=accelerator.process_index,
        noise=config.input_noise,
        encoder_tokenizer=encoder_tokenizer,
    )


def _check_fit(config: TrainingConfig, dataset, model: TextVAEModel, accelerator: Accelerator) -> None:
    global_batch = config.per_device_train_batch_size * accelerator.num_processes
    if not config.streaming and len(dataset) < global_batch:
        raise InputError(
            f"The corpus has {len(dataset)} training texts, fewer than a batch of {global_batch}: "
            "lower --per_device_train_batch_size or add texts."
        )
    if config.bag_of_words_weight and not model.config.bag_of_words:
        raise InputError(f"{config.model_name_or_path} has no bag-of-words head: leave bag_of_words_weight out.")


def count_steps(config: TrainingConfig, batches) -> tuple[int, int]:
    """Optimizer steps of the run and of an epoch; a stream is one epoch long."""
    if config.streaming:
        return config.max_steps, config.max_steps
    steps_per_epoch = math.ceil(batches.batches_per_epoch / config.gradient_accumulation_steps)
    epochs = config.num_train_epochs or DEFAULT_EPOCHS
    total = math.ceil(batches.batches_per_epoch * epochs / config.gradient_accumulation_steps)
    if config.num_train_epochs is None:
        total = max(total, LEAST_DEFAULT_STEPS)
    return config.max_steps or total, steps_per_epoch


def read_batches(config: TrainingConfig, batches, step: int, total_steps: int) -> Iterator[dict]:
    """Micro-batches from optimizer step `step` on."""
    first, end = (number * config.gradient_accumulation_steps for number in (step, total_steps))
    options = {"batch_size": None, "num_workers": config.dataloader_num_workers,
               "pin_memory": torch.cuda.is_available(),
               # Without one of its own a loader draws from torch's random state, once more in a resumed run.
               "generator": torch.Generator().manual_seed(config.seed)}  # fmt: skip
    if config.streaming:
        batches.start_index = first
        return iter(DataLoader(batches, **options))
    return iter(DataLoader(batches, sampler=range(first, end), **options))


def read_random_batches(config: TrainingConfig, batches, step: int) -> Iterator[list[dict]]:
    """The micro-batches of any number of steps, drawn at random from the epoch of optimizer step `step`."""
    generator = np.random.default_rng((config.seed, step))
    position = step * config.gradient_accumulation_steps
    first = position - position % batches.batches_per_epoch
    while True:
        drawn = generator.integers(batches.batches_per_epoch, size=config.gradient_accumulation_steps)
        yield [batches[first + int(number)] for number in drawn]

"""The batches of a run, and how many optimizer steps they make."""

import math
import sys
from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, IterableDataset
from torch.utils.data import DataLoader

from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.training_batches import BatchPlan, LengthGroupedBatches, StreamedBatches
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.training.config import TrainingConfig

# The length of a run without num_train_epochs and max_steps. In fewer steps a decoder does not learn to read z, however
# small the corpus.
DEFAULT_EPOCHS, LEAST_DEFAULT_STEPS = 0.5, 1_500

Batches = LengthGroupedBatches | StreamedBatches


def make_batches(
    config: TrainingConfig,
    dataset: Dataset | IterableDataset,
    tokenizers: TokenizerPair,
    model: TextVAEModel,
    accelerator: Accelerator,
) -> Batches:
    """The training batches of this process.

    Raises:
        InputError: if the corpus is smaller than a batch.
    """
    plan = BatchPlan(
        batch_size=config.per_device_train_batch_size,
        latent_size=model.config.latent_size,
        seed=config.seed,
        num_processes=accelerator.num_processes,
        process_index=accelerator.process_index,
        noise=config.input_noise,
    )
    if isinstance(dataset, IterableDataset):
        return StreamedBatches(dataset, tokenizers, plan)
    if len(dataset) < plan.global_size:
        raise InputError(
            f"The corpus has {len(dataset)} training texts, fewer than a batch of {plan.global_size}: "
            "lower --per_device_train_batch_size or add texts."
        )
    return LengthGroupedBatches(dataset, tokenizers, plan)


def count_steps(config: TrainingConfig, batches: Batches) -> tuple[int, int]:
    """Optimizer steps of the run and of an epoch; with `max_minutes` of a default run, until they are planned.

    A stream is one epoch long.
    """
    if isinstance(batches, StreamedBatches):
        return config.max_steps or LEAST_DEFAULT_STEPS, config.max_steps or sys.maxsize
    steps_per_epoch = math.ceil(batches.batches_per_epoch / config.gradient_accumulation_steps)
    epochs = config.num_train_epochs or DEFAULT_EPOCHS
    total = math.ceil(batches.batches_per_epoch * epochs / config.gradient_accumulation_steps)
    if config.num_train_epochs is None:
        total = max(total, LEAST_DEFAULT_STEPS)
    return config.max_steps or total, steps_per_epoch


def read_batches(config: TrainingConfig, batches: Batches, step: int) -> Iterator[dict]:
    """Micro-batches from optimizer step `step` on, without end."""
    first = step * config.gradient_accumulation_steps
    options = {
        "batch_size": None,
        "num_workers": config.dataloader_num_workers,
        "pin_memory": torch.cuda.is_available(),
        # Without its own generator a loader draws from torch's random state, once more in a resumed run.
        "generator": torch.Generator().manual_seed(config.seed),
    }
    if isinstance(batches, StreamedBatches):
        batches.start_index = first
        return _in_one_sentence(DataLoader(batches, **options))
    return _in_one_sentence(DataLoader(batches, sampler=count(first), **options))


def _in_one_sentence(loader: DataLoader) -> Iterator[dict]:
    """The items of a loader, whose workers would give the user a traceback with the sentence of an InputError below."""
    try:
        yield from loader
    except InputError as error:
        raise InputError(str(error).rstrip().rsplit(f"{InputError.__name__}: ", 1)[-1]) from error


def read_random_batches(config: TrainingConfig, batches: LengthGroupedBatches, step: int) -> Iterator[list[dict]]:
    """The micro-batches of any number of steps, drawn at random from the epoch of optimizer step `step`."""
    generator = np.random.default_rng((config.seed, step))
    position = step * config.gradient_accumulation_steps
    first = position - position % batches.batches_per_epoch
    while True:
        drawn = generator.integers(batches.batches_per_epoch, size=config.gradient_accumulation_steps)
        yield [batches[first + int(number)] for number in drawn]

"""Run: everything that a run of `train` works with."""

import math
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from datasets import Dataset, IterableDataset
from torch import nn

from textvae.data.inference_batches import InferenceBatches
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.modeling.autoencoder import TextVAEModel
from textvae.objectives.controllers import RateController
from textvae.training.averaging import WeightAverage
from textvae.training.batches import Batches
from textvae.training.collapse import CollapseMonitor
from textvae.training.config import TrainingConfig
from textvae.training.progress import Meter, Progress
from textvae.training.teacher import Teacher

LEAST_EVALUATION_STEPS = 100  # between validations, unless eval_steps is given


@dataclass
class Run:
    """What `set_up` makes from a config, and the loop changes.

    Attributes:
        wrapped: the model as Accelerate has prepared it.
        scheduler: of the learning rate. It is not prepared: Accelerate would step it once for every process.
        controller: steers β, if `kl_target` asks for it.
        teacher: if the config names one.
        train_set: the training texts, tokenized.
        held_out: the validation texts, tokenized.
        validation: the same in batches.
        about_corpus: for the report: what `report_coverage` found, and how many held-out texts training has, too.
        about: what a checkpoint must match to be resumed, see `describe`.
    """

    config: TrainingConfig
    accelerator: Accelerator
    tokenizers: TokenizerPair
    model: TextVAEModel
    wrapped: nn.Module
    optimizer: Any
    scheduler: Any
    average: WeightAverage[TextVAEModel]
    controller: RateController | None
    teacher: Teacher | None
    batches: Batches
    train_set: Dataset | IterableDataset
    held_out: Dataset
    validation: InferenceBatches
    total_steps: int
    steps_per_epoch: int
    about_corpus: dict[str, float]
    about: dict[str, Any]
    progress: Progress
    meter: Meter
    monitor: CollapseMonitor

    @property
    def evaluation_steps(self) -> int:
        """Steps between validations: if not given an epoch, or as many whole ones as have 100 steps."""
        epochs = math.ceil(LEAST_EVALUATION_STEPS / self.steps_per_epoch)
        return self.config.eval_steps or epochs * self.steps_per_epoch

    @property
    def monitor_steps(self) -> int | None:
        """Steps between checks for posterior collapse; None for no check, as in a language model."""
        return None if self.model.config.is_language_model else self.config.monitor_steps

    @property
    def is_unplanned(self) -> bool:
        """Whether the number of steps is still to be planned from their speed; `total_steps` is then a first guess."""
        return self.config.max_minutes is not None and not self.progress.planned_steps

    def is_over(self) -> bool:
        """Whether all steps are done, or early stopping has run out of patience."""
        patience = self.config.early_stopping_patience
        stopped_early = patience is not None and self.progress.evaluations_since_best >= patience
        return self.progress.step >= self.total_steps or stopped_early

    def beta(self) -> float:
        """The weight of the KL in the next step."""
        if self.controller is not None:
            return self.controller.beta
        return self.config.kl_weight(self.progress.step, self.total_steps)

    def is_due(self, every: int) -> bool:
        """Whether what is done every so many steps, and after the last one, is due after this step."""
        step = self.progress.step
        return step % every == 0 or step == self.total_steps

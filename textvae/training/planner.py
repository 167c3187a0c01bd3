"""Planner: from the speed of the first steps, how many optimizer steps fit into `max_minutes`."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from tqdm.auto import tqdm

from textvae.processes import from_main
from textvae.training.optimization import average_start, rate_schedule, set_learning_rates
from textvae.training.run import Run

LONGEST, SHARE = 60.0, 0.1  # the speed is measured for so many seconds at most, and this share of the time
WARM_UP = 2  # steps of a session that are not measured, since the first ones are slower


def steps_that_fit(seconds: float, step_seconds: float, validation_seconds: float, every: int) -> int:
    """How many optimizer steps fit into `seconds`, and at least one.

    Args:
        validation_seconds: of each validation.
        every: the steps between validations; the last step has one, too.
    """
    with_its_share = step_seconds + validation_seconds / every
    return max(1, int((seconds - validation_seconds) / with_its_share))


def set_length(run: Run, total_steps: int) -> None:
    """Give a run, with all of its schedules, another number of steps."""
    run.total_steps = run.monitor.total_steps = total_steps
    run.average.start = average_start(run.config, total_steps)
    run.scheduler.lr_lambdas = [rate_schedule(run.config, total_steps)] * len(run.scheduler.base_lrs)
    set_learning_rates(run.scheduler, run.scheduler.base_lrs)


def keep_plan(run: Run, minutes_before: float | None) -> None:
    """Give a resumed run the length that its checkpoint has planned; none holds for another `max_minutes`."""
    progress, minutes = run.progress, run.config.max_minutes
    if minutes is None:
        return
    if minutes != minutes_before:
        progress.planned_steps = 0
    left, so_far = 60 * minutes - progress.seconds, progress.seconds / progress.step
    set_length(run, progress.planned_steps or progress.step + steps_that_fit(left, so_far, 0.0, 1))


class Planner:
    """Plans the steps of a run with `max_minutes`; in any other run, and once they are planned, it does nothing.

    It looks at the speed of a session after 4, 8, 16 … steps, and each time gives the run as many steps as fit into
    its minutes. So the schedules follow the time almost from the start, and hardly change when the plan is made. The
    last look makes it: when the steps were measured for over half of the time that this may take. A validation after 2
    steps tells what the others will cost. The main process measures, and all agree.
    """

    def __init__(self, run: Run):
        self.run, self.first_step = run, run.progress.step
        self.measured_since = self.validation_seconds = 0.0

    @property
    def steps_taken(self) -> int:
        """In this session."""
        return self.run.progress.step - self.first_step

    def needs_validation(self) -> bool:
        """Whether to validate after this step, to know how long it takes."""
        return self.run.is_unplanned and self.steps_taken == WARM_UP

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Around a validation: the time that it takes is kept, and left out of that of the steps."""
        started = time.perf_counter()
        yield
        self.validation_seconds = time.perf_counter() - started
        self.measured_since += self.validation_seconds

    def look(self) -> None:
        """Look at the speed, if it is time for it."""
        taken = self.steps_taken
        if not self.run.is_unplanned or taken < WARM_UP or taken & (taken - 1):
            return
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        if taken == WARM_UP:
            self.measured_since = time.perf_counter()
            return
        total_steps, is_last = from_main(self._plan)
        set_length(self.run, total_steps)
        if is_last:
            self.run.progress.planned_steps = total_steps
            self._say(total_steps)

    def _plan(self) -> tuple[int, bool]:
        """The total number of steps by the speed so far, and whether that is the plan."""
        progress, budget = self.run.progress, 60 * cast(float, self.run.config.max_minutes)
        progress.count_seconds()
        measured = time.perf_counter() - self.measured_since
        costs = measured / (self.steps_taken - WARM_UP), self.validation_seconds, self.run.evaluation_steps
        is_last = 2 * measured > min(LONGEST, SHARE * budget)
        return progress.step + steps_that_fit(budget - progress.seconds, *costs), is_last

    def _say(self, total_steps: int) -> None:
        self.run.meter.set_total(total_steps)
        if self.run.accelerator.is_main_process:
            tqdm.write(f"planned: {total_steps:,} steps in {self.run.config.max_minutes:g} minutes", sys.stderr)

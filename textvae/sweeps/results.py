"""What the runs of a sweep have reached so far: a table, a CSV file and a plot."""

import json
import os
import platform

import torch

from textvae.files import whole_file, write_whole
from textvae.pipeline.hub import METRICS_FILE
from textvae.processes import device_of, this_process
from textvae.sweeps import compare
from textvae.sweeps.compare import Outcome
from textvae.sweeps.file import Sweep, SweepRun
from textvae.sweeps.measurement import TestSet, measured
from textvae.training.checkpoints import checkpoints_in, step_of
from textvae.training.config import CONFIG_FILE

FAILED = "failed.txt"


def outcome(one: SweepRun, test: TestSet | None) -> Outcome:
    """Where a run stands, and its results if it is finished: on the test texts, or else on its validation texts."""
    if (one.directory / FAILED).exists():
        return Outcome(one.name, one.seed, f"failed: {(one.directory / FAILED).read_text(encoding='utf-8').strip()}")
    if not (one.directory / METRICS_FILE).exists():
        return Outcome(one.name, one.seed, _progress(one))
    results = json.loads((one.directory / METRICS_FILE).read_text(encoding="utf-8"))
    if test is not None:
        reached = measured(one, test)
        if reached is None:
            return Outcome(one.name, one.seed, "trained, not yet measured on the test texts")
        results = {name: results[name] for name in ("steps", "training_seconds", "num_parameters")} | reached
    return Outcome(one.name, one.seed, compare.FINISHED, results)


def _progress(one: SweepRun) -> str:
    if found := checkpoints_in(one.directory):
        total = f" of {one.config.max_steps:,}" if one.config.max_steps else ""
        return f"running, step {step_of(found[-1]):,}{total}"
    return "running, no checkpoint yet" if (one.directory / CONFIG_FILE).exists() else "not started"


def write_comparison(sweep: Sweep, test: TestSet | None, command: str) -> str:
    """Write `table.md`, `table.csv` and `rate_distortion.png` of all results so far; returns the table."""
    outcomes = [outcome(one, test) for one in sweep.runs]
    compare.add_gap(outcomes, sweep.language_model)
    table = f"{compare.as_markdown(outcomes)} {_measured_on(sweep, test)}\n"
    sweep.output_dir.mkdir(parents=True, exist_ok=True)
    write_whole(sweep.output_dir / "table.md", f"{_header(sweep, outcomes, command)}\n\n{table}")
    write_whole(sweep.output_dir / "table.csv", compare.as_csv(outcomes))
    if any(one.is_finished for one in outcomes):
        with whole_file(sweep.output_dir / "rate_distortion.png") as place:
            compare.rate_distortion(outcomes, sweep.language_model).savefig(place, format="png", dpi=200)
    return table


def _measured_on(sweep: Sweep, test: TestSet | None) -> str:
    if test is None:
        return "Measured on the validation texts."
    options = ", ".join(f"{name} {'all' if value is None else value}" for name, value in sweep.evaluation.items())
    return f"Measured on {len(test.texts):,} test texts ({options})."


def _header(sweep: Sweep, outcomes: list[Outcome], command: str) -> str:
    """A comment that says how to get the table again: command, seeds, hardware, budget."""
    state = this_process()
    cpu = f"{platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
    device = torch.cuda.get_device_name() if device_of(state).type == "cuda" else cpu
    budgets = dict.fromkeys(_budget(*pair) for pair in zip(sweep.runs, outcomes, strict=True))
    lines = [
        f"command: {command}",
        f"seeds: {', '.join(str(seed) for seed in dict.fromkeys(one.seed for one in sweep.runs))}",
        f"hardware: {device}, {os.cpu_count()} CPU cores, processes: {state.num_processes}",
        f"budget of a run: {', '.join(budgets)}",
    ]
    return "<!--\n" + "\n".join(lines) + "\n-->"


def _budget(one: SweepRun, reached: Outcome) -> str:
    steps = reached.results.get("steps", one.config.max_steps)
    if steps:
        return f"{steps:,} steps"
    epochs, minutes = one.config.num_train_epochs, one.config.max_minutes
    if minutes:
        return f"{minutes:g} minutes"
    return f"{epochs:g} epochs" if epochs else "the default length"

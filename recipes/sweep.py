"""Run a list of configs one after the other, measure each, and put them in one table and one rate–distortion plot.

python recipes/sweep.py recipes/configs/ptb-techniques.yaml \\
    --train_file ptb.train.txt --validation_file ptb.valid.txt --test_file ptb.test.txt
python recipes/sweep.py SWEEP.yaml … --only "free bits 0.25" "language model"   # these runs only
python recipes/sweep.py SWEEP.yaml … --list                                     # what would run, what is done
python recipes/sweep.py SWEEP.yaml … --table                                    # table and plot of what is finished

The file names the runs and what differs between them; flags of train.py override every run, and --output_dir and
--seed what the file says of them:

    output_dir: runs/mine
    seeds: [0, 1]                     # every run once for each; [0] when left out
    base: {latent_size: 32}           # settings of all runs; a run's own replace them, a flag replaces both
    runs:
      language model: {latent_injection: none}
      free bits 0.25: {free_bits: 0.25}
      averaged: {after: free bits 0.25, weight_averaging: swa, num_train_epochs: 5}  # from the model of that run
    language_model: language model    # the run whose NLL the others are compared with, if any
    evaluation: {num_importance_samples: 50, num_importance_texts: 1000, num_reconstructed_texts: 500, batch_size: 64}

Every run lives in `output_dir/NAME-seedN`. The same command goes on where it was cut: what is done is left alone, what
is not goes on from its latest checkpoint, and a run that failed is tried again. The table holds what each run reaches
on --test_file (`test.json` of its directory), or without one what `metrics.json` says of its validation texts. A run
that cannot go on (its loss is NaN, say) is shown with the reason and the next one starts; the exit code is then 1.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from datasets import Dataset

from textvae import TextVAEPipeline
from textvae.cli.arguments import parse_with_training_flags
from textvae.cli.main import run
from textvae.data.corpora import load_texts
from textvae.data.tokenization import MAX_LENGTH, train_word_tokenizer
from textvae.errors import InputError
from textvae.files import write_whole
from textvae.pipeline.hub import METRICS_FILE
from textvae.processes import from_main, main_first, this_process
from textvae.sweeps import compare as comparison
from textvae.sweeps.compare import Outcome
from textvae.sweeps.file import Run, Sweep, read_sweep
from textvae.training.build_model import build_model
from textvae.training.checkpoints import checkpoints_in, step_of
from textvae.training.config import CONFIG_FILE
from textvae.training.train import train

TEST, FAILED, CACHE = "test.json", "failed.txt", "test-cache"


@dataclass
class TestSet:
    """The test file's texts, and what a `test.json` must say it was measured with."""

    texts: Dataset
    settings: dict


def read_test_set(file: str, columns: dict[str, str], evaluation: dict) -> TestSet:
    texts = main_first(lambda: load_texts(file, **columns))
    if len(texts) < 2:
        raise InputError(f"{file} holds {len(texts)} text and 2 are needed: give another --test_file.")
    content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    columns = dict(columns)
    settings = {"sha256": content, "text_column": columns.pop("text_column"), "evaluation": evaluation}
    return TestSet(texts, settings | columns)


def columns_to_test(runs: list[Run]) -> dict[str, str]:
    """Where the test texts are, and what else a run needs; a run without labels takes no notice of them."""
    first = runs[0].config
    labels = [one.config.label_column for one in runs if one.config.label_column is not None]
    columns = {"text_column": first.text_column, "target_column": first.target_column,
               "label_column": labels[0] if labels else None}  # fmt: skip
    return {name: column for name, column in columns.items() if column is not None}


# before the first run


def check_inputs(runs: list[Run]) -> None:
    """Files that are missing and models that cannot be built are found now, and not after hours.

    Models are built without memory, for a small vocabulary.
    """
    files = {(file, one.config.text_column, one.config.target_column, one.config.label_column): None
             for one in runs for file in (one.config.train_file, one.config.validation_file) if file is not None
             and not one.config.streaming}  # fmt: skip
    for file, *columns in files:
        main_first(lambda file=file, columns=columns: load_texts(file, *columns))
    tokenizer = train_word_tokenizer(map(str, range(1000)))
    for one in runs:
        if one.config.model_name_or_path is None and not one.config.has_pretrained_parts:
            _check_model(one, tokenizer)


def _check_model(one: Run, tokenizer) -> None:
    tokenizer.model_max_length = one.config.max_length or MAX_LENGTH
    try:
        with torch.device("meta"):
            build_model(one.config, tokenizer)
    except InputError as error:
        raise InputError(f"In the run {one.name!r}: {error}") from error


# running


def run_all(sweep: Sweep, chosen: list[Run], test: TestSet | None, command: str) -> bool:
    """Carry out what is not done, with the table written anew before each; whether one failed."""
    pending = from_main(lambda: [one for one in chosen if not outcome(one, test).is_finished])
    check_inputs(pending)
    failed = False
    for number, one in enumerate(pending, 1):
        from_main(lambda: write_comparison(sweep, test, command))
        say(f"\n{one} ({number} of {len(pending)})")
        try:
            carry_out(one, test, sweep.evaluation)
        except InputError as error:
            failed = True
            from_main(lambda one=one, error=error: record_failure(one, error))
    return failed


def carry_out(one: Run, test: TestSet | None, evaluation: dict) -> None:
    """Train it if it is not trained, from its latest checkpoint; measure it if it is not measured."""
    from_main(lambda: (one.directory / FAILED).unlink(missing_ok=True))
    if not from_main(lambda: (one.directory / METRICS_FILE).exists()):
        from_main(lambda: ((one.directory / TEST).unlink(missing_ok=True), forget_measurements(one)))
        has_checkpoint = from_main(lambda: bool(checkpoints_in(one.directory)))
        # Cut before its first checkpoint, it may have left a model, of these settings.
        has_begun = from_main(lambda: (one.directory / CONFIG_FILE).exists())
        way = {"resume_from_checkpoint": "latest"} if has_checkpoint else {"overwrite_output_dir": has_begun}
        train(replace(one.config, **way))
    if test is not None and from_main(lambda: measured(one, test)) is None:
        measure(one, test, evaluation)


def measure(one: Run, test: TestSet, evaluation: dict) -> None:
    """What the run reaches on the test texts, to its `test.json`."""
    pipeline = TextVAEPipeline.from_pretrained(one.directory, device=this_process().device)
    name = f"{CACHE}-{hashlib.sha256(json.dumps(test.settings).encode()).hexdigest()[:8]}"
    measured_with = partial(pipeline.evaluate, test.texts, cache=one.directory / name, **evaluation)
    try:
        results = measured_with()
    except InputError:  # before any work, if another model, or this one under another version, left values there
        from_main(lambda: forget_measurements(one))
        results = measured_with()
    content = json.dumps({"settings": test.settings, "results": results}, indent=1)
    from_main(lambda: write_whole(one.directory / TEST, content))
    from_main(lambda: forget_measurements(one))


def forget_measurements(one: Run) -> None:
    """What an interrupted measurement would have gone on from."""
    for cache in one.directory.glob(f"{CACHE}-*"):
        cache.unlink()


def measured(one: Run, test: TestSet) -> dict | None:
    """What the run reaches on the test texts, if it has been measured as it would be now."""
    path = one.directory / TEST
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"settings": None}
    return content["results"] if content["settings"] == test.settings else None


def record_failure(one: Run, error: InputError) -> None:
    print(f"error: {one}: {error}", file=sys.stderr, flush=True)
    one.directory.mkdir(parents=True, exist_ok=True)
    write_whole(one.directory / FAILED, f"{error}\n")


def say(text: str) -> None:
    if this_process().is_main_process:
        print(text, flush=True)


# what has been reached


def outcome(one: Run, test: TestSet | None) -> Outcome:
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
    return Outcome(one.name, one.seed, comparison.FINISHED, results)


def _progress(one: Run) -> str:
    if found := checkpoints_in(one.directory):
        total = f" of {one.config.max_steps:,}" if one.config.max_steps else ""
        return f"running, step {step_of(found[-1]):,}{total}"
    return "running, no checkpoint yet" if (one.directory / CONFIG_FILE).exists() else "not started"


def write_comparison(sweep: Sweep, test: TestSet | None, command: str) -> str:
    """`table.md`, `table.csv` and `rate_distortion.png` of what there is by now; returns the table."""
    outcomes = [outcome(one, test) for one in sweep.runs]
    comparison.add_gap(outcomes, sweep.language_model)
    table = f"{comparison.as_markdown(outcomes)} {_measured_on(sweep, test)}\n"
    sweep.output_dir.mkdir(parents=True, exist_ok=True)
    write_whole(sweep.output_dir / "table.md", f"{_header(sweep, outcomes, command)}\n\n{table}")
    write_whole(sweep.output_dir / "table.csv", comparison.as_csv(outcomes))
    if any(one.is_finished for one in outcomes):
        unfinished = sweep.output_dir / ".rate_distortion.png.unfinished"
        comparison.rate_distortion(outcomes, sweep.language_model).savefig(unfinished, format="png", dpi=200)
        unfinished.replace(sweep.output_dir / "rate_distortion.png")
    return table


def _measured_on(sweep: Sweep, test: TestSet | None) -> str:
    if test is None:
        return "Measured on the validation texts."
    options = ", ".join(f"{name} {'all' if value is None else value}" for name, value in sweep.evaluation.items())
    return f"Measured on {len(test.texts):,} test texts ({options})."


def _header(sweep: Sweep, outcomes: list[Outcome], command: str) -> str:
    """How the table came about, as a comment: command, seeds, the machine that wrote it, budget."""
    state = this_process()
    cpu = f"{platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
    device = torch.cuda.get_device_name() if state.device.type == "cuda" else cpu
    budgets = dict.fromkeys(_budget(*pair) for pair in zip(sweep.runs, outcomes, strict=True))
    lines = [
        f"command: {command}",
        f"seeds: {', '.join(str(seed) for seed in dict.fromkeys(one.seed for one in sweep.runs))}",
        f"hardware: {device}, {os.cpu_count()} CPU cores, processes: {state.num_processes}",
        f"budget of a run: {', '.join(budgets)}",
    ]
    return "<!--\n" + "\n".join(lines) + "\n-->"


def _budget(one: Run, reached: Outcome) -> str:
    steps = reached.results.get("steps", one.config.max_steps)
    if steps:
        return f"{steps:,} steps"
    epochs = one.config.num_train_epochs
    return f"{epochs:g} epochs" if epochs else "the default length"


# the command line


def main() -> None:
    parser = argparse.ArgumentParser(
        usage="%(prog)s SWEEP.yaml [--test_file FILE] [--only NAME ...] [--list | --table] [--name value ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("sweep", help="the YAML file")
    parser.add_argument("--test_file", help="texts that every finished run is measured on")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these")
    parser.add_argument("--list", action="store_true", help="say what would run and what is done, and write nothing")
    parser.add_argument("--table", action="store_true", help="write table and plot of what is finished, run nothing")
    flags = parse_with_training_flags(parser)
    file, test_file, only, list_only, table_only = (
        flags.pop(name) for name in ("sweep", "test_file", "only", "list", "table")
    )
    sweep = read_sweep(file, flags)
    chosen = sweep.select(only)
    test = read_test_set(test_file, columns_to_test(sweep.runs), sweep.evaluation) if test_file else None
    if list_only:
        say("\n".join(f"{one}: {outcome(one, test).state} ({one.directory})" for one in chosen))
        return
    comparison.require_matplotlib()
    command = as_typed(file, {"test_file": test_file, **flags})
    failed = not table_only and run_all(sweep, chosen, test, command)
    say(from_main(lambda: write_comparison(sweep, test, command)))
    if failed:
        sys.exit(1)


def as_typed(file: str, flags: dict) -> str:
    """The command whose results the whole table shows, without --only and --table."""
    words = ["python", sys.argv[0], file]
    for name, value in flags.items():
        words += [] if value is None else [f"--{name}", *(value if isinstance(value, list) else [value])]
    return shlex.join(words)


if __name__ == "__main__":
    run(main)

"""Train a list of configs one after the other, evaluate each, and compare them in a table and a rate–distortion plot.

python recipes/sweep.py recipes/configs/ptb-techniques.yaml \\
    --train_file ptb.train.txt --validation_file ptb.valid.txt --test_file ptb.test.txt
python recipes/sweep.py SWEEP.yaml … --only "free bits 0.25" "language model"   # these runs only
python recipes/sweep.py SWEEP.yaml … --list                                     # the state of each run
python recipes/sweep.py SWEEP.yaml … --table                                    # table and plot of the finished runs

The file lists the runs and their settings. Flags of train.py override the settings of every run; --output_dir and
--seed override the output_dir and the seeds of the file:

    output_dir: runs/mine
    seeds: [0, 1]                     # every run is trained once per seed; default [0]
    base: {latent_size: 32}           # settings of all runs; those of a run override them, flags override both
    runs:
      language model: {latent_injection: none}
      free bits 0.25: {free_bits: 0.25}
      averaged: {after: free bits 0.25, weight_averaging: swa, num_train_epochs: 5}  # from the model of that run
    language_model: language model    # optional: the run whose NLL is the baseline
    evaluation: {num_importance_samples: 50, num_importance_texts: 1000, num_reconstructed_texts: 500, batch_size: 64}

Every run is saved in `output_dir/NAME-seedN`. After an interruption, the same command resumes the sweep: finished runs
are kept, unfinished runs resume from their latest checkpoint, and failed runs are tried again. The table shows the
results on --test_file (`test.json` of each run), or without it those on the validation texts (`metrics.json`). If a run
fails (for example with a NaN loss), the table shows the reason, the next run starts, and the exit code is 1 at the end.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is loaded: a thread that waits leaves its core

import argparse
import shlex
import sys

from textvae.cli.arguments import parse_with_training_flags
from textvae.cli.main import run
from textvae.processes import from_main, say
from textvae.sweeps.compare import require_matplotlib
from textvae.sweeps.file import read_sweep
from textvae.sweeps.measurement import columns_to_test, read_test_set
from textvae.sweeps.results import outcome, write_comparison
from textvae.sweeps.run import run_all


def main() -> None:
    parser = argparse.ArgumentParser(
        usage="%(prog)s SWEEP.yaml [--test_file FILE ...] [--only NAME ...] [--list | --table] [--name value ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("sweep", help="the YAML file")
    parser.add_argument("--test_file", nargs="+", action="extend", help="texts that every finished run is measured on")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train only these runs")
    parser.add_argument("--list", action="store_true", help="print the state of each run, and write nothing")
    parser.add_argument("--table", action="store_true", help="write table and plot of the finished runs, train nothing")
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
    require_matplotlib()
    command = as_typed(file, {"test_file": test_file, **flags})
    failed = not table_only and run_all(sweep, chosen, test, command)
    say(from_main(lambda: write_comparison(sweep, test, command)))
    if failed:
        sys.exit(1)


def as_typed(file: str, flags: dict) -> str:
    """The command that gives the whole table, without --only and --table."""
    words = ["python", sys.argv[0], file]
    for name, value in flags.items():
        words += [] if value is None else [f"--{name}", *(value if isinstance(value, list) else [value])]
    return shlex.join(words)


if __name__ == "__main__":
    run(main)

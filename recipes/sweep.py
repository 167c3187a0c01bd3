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
import shlex
import sys

from textvae.cli.arguments import parse_with_training_flags
from textvae.cli.main import run
from textvae.processes import from_main
from textvae.sweeps.compare import require_matplotlib
from textvae.sweeps.file import read_sweep
from textvae.sweeps.results import outcome, write_comparison
from textvae.sweeps.run import run_all, say
from textvae.sweeps.test_set import columns_to_test, read_test_set


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
    require_matplotlib()
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

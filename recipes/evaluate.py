"""Evaluate a saved model on a file: bounds in nats, use of z, reconstruction. Prints a table; --output saves JSON.

accelerate launch recipes/evaluate.py runs/chitchat --file mine.txt --num_importance_samples 100 --output scores.json

Partial results are saved in scores.json.partial: after an interruption, the same command resumes from them.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is loaded: a thread that waits leaves its core

import argparse
import json
from pathlib import Path

from accelerate import Accelerator

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, add_flags, flags_of
from textvae.cli.main import run
from textvae.config_fields import from_names
from textvae.data.corpora import load_texts
from textvae.data.coverage import unknown_sentence
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.table import report_table
from textvae.files import check_place, read_json, write_whole
from textvae.processes import main_first, say
from textvae.training.precision import warn_of_slow_bf16


def check_results(output: Path) -> None:
    """Raises InputError if this --output cannot be written, or would replace something else than results."""
    check_place(output)
    if output.exists() and read_json(output) is None:
        raise InputError(f"{output} holds something else than results: give another --output.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory that train.py wrote")
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--target_column", help="column of the target texts, decoded from the z of --text_column")
    parser.add_argument("--label_column", help="column of the labels, for a model with labels")
    add_flags(parser, EvaluationConfig, defaults={"mixed_precision": "that of accelerate launch, or no"})
    parser.add_argument("--output", help="write the results to this JSON file, and partial results to FILE.partial")
    arguments = parser.parse_args()
    if arguments.output:
        check_results(Path(arguments.output))
        check_place(Path(f"{arguments.output}.partial"))

    accelerator = Accelerator()
    options = {"mixed_precision": accelerator.mixed_precision}
    options |= flags_of(EvaluationConfig, arguments)
    config = from_names(EvaluationConfig, options)
    warn_of_slow_bf16({"mixed_precision": config.mixed_precision}, accelerator.device)
    pipeline = TextVAEPipeline.from_pretrained(arguments.model, device=accelerator.device)
    columns = arguments.text_column, arguments.target_column, arguments.label_column
    names = pipeline.model.config.label_names
    if arguments.label_column and not names:
        raise InputError(f"{arguments.model} has no labels: leave --label_column out.")
    if names and not arguments.label_column:
        raise InputError(f"{arguments.model} has labels: add --label_column.")
    partial = Path(f"{arguments.output}.partial") if arguments.output else None
    texts = main_first(lambda: load_texts(arguments.file, *columns))
    report = pipeline.evaluate(texts, config, cache=partial)
    if partial is not None and accelerator.is_main_process:
        write_whole(Path(arguments.output), json.dumps(report, indent=1))
        partial.unlink()
    say(report_table(report))
    if report["num_unknown"]:
        say(unknown_sentence(pipeline.tokenizer, int(report["num_unknown"]), int(report["num_tokens"])))


if __name__ == "__main__":
    run(main)

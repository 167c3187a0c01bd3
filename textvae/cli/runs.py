"""Sub-commands about runs and models: train, benchmark, evaluate, sweep, merge."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from textvae.cli.arguments import Parser, add_flags, add_training_flags, flags_of, training_config
from textvae.cli.verbs import add_corpus, check_label_column, load_corpus
from textvae.config_fields import from_names
from textvae.errors import InputError
from textvae.files import check_directory, check_place, read_json, write_whole


def train(parser: Parser):
    """Train a text VAE on the embedded corpus or on your own.

    textvae train --train_file mine.txt --output_dir runs/mine

    For several GPUs or machines: accelerate launch -m textvae train …
    """
    add_training_flags(parser)

    def work(arguments: argparse.Namespace) -> None:
        from textvae.training.train import train

        train(training_config(arguments))

    return work


def benchmark(parser: Parser):
    """Measure how fast a config trains and decodes on this machine, as ratios within one run.

    textvae benchmark --train_file mine.txt

    It takes the settings of train, and writes nothing. What the lines say is in textvae.training.benchmark.
    """
    add_training_flags(parser)

    def work(arguments: argparse.Namespace) -> None:
        from textvae.processes import say
        from textvae.training.benchmark import measure_speed

        for line in measure_speed(training_config(arguments)):
            say(line)

    return work


def evaluate(parser: Parser):
    """Evaluate a saved model on a file: bounds in nats, use of z, reconstruction.

    textvae evaluate runs/chitchat --file mine.txt --output scores.json

    Prints a table; --output saves JSON. Partial results are saved in scores.json.partial: after an interruption, the
    same command resumes from them. For several GPUs or machines: accelerate launch -m textvae evaluate …
    """
    from textvae.evaluation.config import EvaluationConfig

    parser.add_argument("model", help="a directory that train wrote")
    add_corpus(parser)
    parser.add_argument("--prior", help="of samples and fitted bounds: gaussian, mixture, flow or standard")
    add_flags(parser, EvaluationConfig, defaults={"mixed_precision": "that of accelerate launch, or no"})
    parser.add_argument("--output", help="write the results to this JSON file, and partial results to FILE.partial")
    return _evaluate


def _evaluate(arguments: argparse.Namespace) -> None:
    from accelerate import Accelerator

    from textvae.data.coverage import unknown_sentence
    from textvae.evaluation.config import EvaluationConfig
    from textvae.evaluation.table import report_table
    from textvae.pipeline.pipeline import TextVAEPipeline
    from textvae.processes import main_first, say
    from textvae.training.precision import warn_of_slow_bf16

    if arguments.output:
        check_results(Path(arguments.output))
        check_place(Path(f"{arguments.output}.partial"))
    accelerator = Accelerator()
    options = {"mixed_precision": accelerator.mixed_precision} | flags_of(EvaluationConfig, arguments)
    config = from_names(EvaluationConfig, options)
    warn_of_slow_bf16({"mixed_precision": config.mixed_precision}, accelerator.device)
    pipeline = TextVAEPipeline.from_pretrained(arguments.model, device=accelerator.device)
    check_label_column(arguments, pipeline)
    partial = Path(f"{arguments.output}.partial") if arguments.output else None
    texts = main_first(lambda: load_corpus(arguments))
    report = pipeline.evaluate(texts, config, prior=arguments.prior, cache=partial)
    if partial is not None and accelerator.is_main_process:
        write_whole(Path(arguments.output), json.dumps(report, indent=1))
        partial.unlink()
    say(report_table(report))
    if report["num_unknown"]:
        say(unknown_sentence(pipeline.tokenizer, int(report["num_unknown"]), int(report["num_tokens"])))


def check_results(output: Path) -> None:
    """Raises InputError if this --output cannot be written, or would replace something else than results."""
    check_place(output)
    if output.exists() and read_json(output) is None:
        raise InputError(f"{output} holds something else than results: give another --output.")


def sweep(parser: Parser):
    """Train a list of configs, evaluate each, and compare them in a table and a plot.

    textvae sweep sweep.yaml --train_file mine.txt --list

    The file lists the runs and their settings. Flags of train override the settings of every run; --output_dir and
    --seed override the output_dir and the seeds of the file. After an interruption, the same command resumes. If a run
    fails, the next one starts, and the exit code is 1 at the end. More is in textvae.sweeps.
    """
    from textvae.training.config import TrainingConfig

    parser.usage = "%(prog)s SWEEP.yaml [--test_file FILE ...] [--only NAME ...] [--list | --table] [--name value ...]"
    parser.add_argument("sweep", help="the YAML file")
    parser.add_argument("--test_file", nargs="+", action="extend", help="texts that every finished run is measured on")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train only these runs")
    parser.add_argument("--list", action="store_true", help="print the state of each run, and write nothing")
    parser.add_argument("--table", action="store_true", help="write table and plot of the finished runs, train nothing")
    add_flags(parser, TrainingConfig)
    return lambda arguments: _sweep(arguments, flags_of(TrainingConfig, arguments), parser.prog)


def _sweep(arguments: argparse.Namespace, flags: dict, command: str) -> None:
    from textvae.processes import from_main, say
    from textvae.sweeps.compare import require_matplotlib
    from textvae.sweeps.file import read_sweep
    from textvae.sweeps.measurement import columns_to_test, read_test_set
    from textvae.sweeps.results import outcome, write_comparison
    from textvae.sweeps.run import run_all

    sweep, files = read_sweep(arguments.sweep, flags), arguments.test_file
    chosen = sweep.select(arguments.only)
    test = read_test_set(files, columns_to_test(sweep.runs), sweep.evaluation) if files else None
    if arguments.list:
        say("\n".join(f"{one}: {outcome(one, test).state} ({one.directory})" for one in chosen))
        return
    require_matplotlib()
    typed = f"{command} {_as_typed(arguments.sweep, {'test_file': files, **flags})}"
    failed = not arguments.table and run_all(sweep, chosen, test, typed)
    say(from_main(lambda: write_comparison(sweep, test, typed)))
    if failed:
        sys.exit(1)


def _as_typed(file: str, flags: dict) -> str:
    """The arguments that give the whole table, without --only and --table."""
    words = [file]
    for name, value in flags.items():
        words += [] if value is None else [f"--{name}", *(value if isinstance(value, list) else [value])]
    return shlex.join(words)


def merge(parser: Parser):
    """Save a model and its base models as one directory, with all weights in fp32 and the adapters merged.

    textvae merge runs/adapted runs/merged
    """
    parser.add_argument("model", help="a directory that train wrote with freeze_encoder, freeze_decoder or lora")
    parser.add_argument("output_dir")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32"], help="dtype to open the base models in")

    def work(arguments: argparse.Namespace) -> None:
        from textvae.pipeline.pipeline import TextVAEPipeline

        check_directory(Path(arguments.output_dir))
        pipeline = TextVAEPipeline.from_pretrained(arguments.model, device="cpu", dtype=arguments.dtype)
        pipeline.merge_and_save(arguments.output_dir)

    return work

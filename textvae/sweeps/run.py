"""Carry out the runs of a sweep, one after the other, each from where it was cut."""

import hashlib
import json
import sys
from dataclasses import replace
from functools import partial

import torch

from textvae.data.tokenization import MAX_LENGTH, train_word_tokenizer
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError
from textvae.files import write_whole
from textvae.pipeline.hub import METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.processes import from_main, main_first, say, this_process
from textvae.sweeps.file import Sweep, SweepRun
from textvae.sweeps.measurement import TEST, TestSet, measured
from textvae.sweeps.results import FAILED, outcome, write_comparison
from textvae.training.build_model import build_model
from textvae.training.checkpoints import checkpoints_in
from textvae.training.config import CONFIG_FILE
from textvae.training.setup import read_corpus
from textvae.training.train import train

CACHE = "test-cache"
CORPUS = ("train_file", "validation_file", "text_column", "target_column", "label_column", "streaming")


def check_inputs(runs: list[SweepRun]) -> None:
    """Raises InputError for a missing file or a model that cannot be built: now, and not after hours of training.

    Models are built on the meta device, without memory, for a small vocabulary.
    """
    corpora = {str([getattr(one.config, name) for name in CORPUS]): one.config for one in runs if one.config.train_file}
    for config in corpora.values():
        main_first(lambda config=config: read_corpus(config))
    tokenizer = train_word_tokenizer(map(str, range(1000)))
    for one in runs:
        if one.config.model_name_or_path is None and not one.config.has_pretrained_parts:
            _check_model(one, TokenizerPair(tokenizer))


def _check_model(one: SweepRun, tokenizers: TokenizerPair) -> None:
    tokenizers.limit(one.config.max_length or MAX_LENGTH)
    try:
        with torch.device("meta"):
            build_model(one.config, tokenizers)
    except InputError as error:
        raise InputError(f"In the run {one.name!r}: {error}") from error


def run_all(sweep: Sweep, chosen: list[SweepRun], test: TestSet | None, command: str) -> bool:
    """Carry out the runs that are not done, and write the table anew before each; returns whether one failed."""
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


def carry_out(one: SweepRun, test: TestSet | None, evaluation: dict) -> None:
    """Train a run, from its latest checkpoint if it has one, and measure it; what is done is left alone."""
    from_main(lambda: (one.directory / FAILED).unlink(missing_ok=True))
    if not from_main(lambda: (one.directory / METRICS_FILE).exists()):
        from_main(lambda: ((one.directory / TEST).unlink(missing_ok=True), forget_measurements(one)))
        has_checkpoint = from_main(lambda: bool(checkpoints_in(one.directory)))
        # If it was cut before its first checkpoint, it may have left a model with the same settings.
        has_begun = from_main(lambda: (one.directory / CONFIG_FILE).exists())
        way = {"resume_from_checkpoint": "latest"} if has_checkpoint else {"overwrite_output_dir": has_begun}
        train(replace(one.config, **way))
    if test is not None and from_main(lambda: measured(one, test)) is None:
        measure(one, test, evaluation)


def measure(one: SweepRun, test: TestSet, evaluation: dict) -> None:
    """Evaluate a run on the test texts, and write `test.json`."""
    pipeline = TextVAEPipeline.from_pretrained(one.directory, device=this_process().device)
    name = f"{CACHE}-{hashlib.sha256(json.dumps(test.settings).encode()).hexdigest()[:8]}"
    measured_with = partial(pipeline.evaluate, test.texts, cache=one.directory / name, **evaluation)
    try:
        results = measured_with()
    except InputError:  # raised before any work if the cache is of another model or version
        from_main(lambda: forget_measurements(one))
        results = measured_with()
    content = json.dumps({"settings": test.settings, "results": results}, indent=1)
    from_main(lambda: write_whole(one.directory / TEST, content))
    from_main(lambda: forget_measurements(one))


def forget_measurements(one: SweepRun) -> None:
    """Delete the values that an interrupted measurement has left."""
    for cache in one.directory.glob(f"{CACHE}-*"):
        cache.unlink()


def record_failure(one: SweepRun, error: InputError) -> None:
    """Print why a run failed, and keep the reason in its directory."""
    print(f"error: {one}: {error}", file=sys.stderr, flush=True)
    one.directory.mkdir(parents=True, exist_ok=True)
    write_whole(one.directory / FAILED, f"{error}\n")

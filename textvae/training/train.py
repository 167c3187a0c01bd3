"""train(config): from a corpus to a saved pipeline, on one process or many."""

import logging
import math
import shlex
import sys
import time
from pathlib import Path
from typing import cast

from tqdm.auto import tqdm

from textvae.data.corpora import Texts
from textvae.data.training_batches import LengthGroupedBatches
from textvae.errors import InputError
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.likelihood import bound, posterior_terms
from textvae.evaluation.metrics import mutual_information
from textvae.files import remove_directory
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.pipeline.priors import USUAL
from textvae.report.model_card import About
from textvae.report.report import write_report
from textvae.training import checkpoints
from textvae.training.batches import read_batches, read_random_batches
from textvae.training.claim import claimed
from textvae.training.config import CONFIG_FILE, TrainingConfig
from textvae.training.fit_prior import fit_prior
from textvae.training.optimization import reset_decoder
from textvae.training.output_dir import BEST, replace_best
from textvae.training.planner import Planner
from textvae.training.run import Run
from textvae.training.setup import set_up
from textvae.training.step import Stepper, train_encoder

logger = logging.getLogger(__name__)


def train(config: TrainingConfig, texts: Texts | None = None) -> TextVAEPipeline:
    """Train a text VAE and leave in `output_dir` a directory that `TextVAEPipeline.from_pretrained` opens.

    Each step minimises mean(reconstruction) + β · free_bits(KL), in nats per text, and the terms that the config adds.
    The best model by validation −ELBO is kept; `metrics.json` and a model card say what it reaches on the held-out
    texts. A resumed run equals an uninterrupted one, and several processes equal one with the same global batch.

    Args:
        texts: the corpus, in place of the config's: a list of texts, the path of a file, a table or a dataset with the
            config's columns, a stream, or a dictionary of splits; see [`textvae.data.load_corpus`].

    Raises:
        InputError: for input that cannot be used, or a loss that is no longer finite, in one sentence.
    """
    with claimed(Path(config.output_dir)):
        run = set_up(config, texts)
        try:
            _take_steps(run)
            return _finish(run, _about(run.config, texts))
        except KeyboardInterrupt:
            _say_how_to_go_on(run)
            raise


def _take_steps(run: Run) -> None:
    """Take the optimizer steps that are left, with validations and checkpoints in between."""
    config, stepper, planner, progress = run.config, Stepper(run), Planner(run), run.progress
    micro_batches = read_batches(config, run.batches, progress.step)
    run.meter.start(progress.step, None if run.is_unplanned else run.total_steps)
    run.model.train()
    progress.start_clock()
    while not run.is_over():
        beta = run.beta()
        if config.kl_reset_decoder and config.kl_weight.begins_climb(progress.step, run.total_steps):
            reset_decoder(run.model, run.optimizer, config.seed + progress.step)
            run.average.restart()
        if progress.is_aggressive:
            batches = cast(LengthGroupedBatches, run.batches)  # the config refuses a stream
            train_encoder(stepper, read_random_batches(config, batches, progress.step), beta)
        kl = stepper.step([next(micro_batches) for _ in range(config.gradient_accumulation_steps)], beta)
        run.scheduler.step()
        progress.step += 1
        run.average.update(run.model, progress.step)
        if run.controller is not None:
            run.controller.update(float(kl.sum()))
        _show(run, stepper, beta)
        if run.is_due(run.evaluation_steps) or planner.needs_validation():
            with planner.validation():
                _keep_if_best(run)
        planner.look()
        if run.is_due(config.save_steps):
            progress.count_seconds()
            limit = config.save_total_limit
            checkpoints.save_checkpoint(run.accelerator, config.output_dir, progress.step, run.about, limit)
    _close(run)


def _show(run: Run, stepper: Stepper, beta: float) -> None:
    """Check for posterior collapse and for numbers that are not finite, and show progress, if it is time for it."""
    step = run.progress.step
    if run.monitor_steps and step % run.monitor_steps == 0:
        run.meter.shuffle_gap = run.monitor.check(run.model, stepper.last_batch, step)["shuffle_gap"]
    due = run.is_due(run.evaluation_steps) or run.is_due(run.config.save_steps)
    if step % run.config.logging_steps == 0 or due:
        if (broken := run.meter.first_not_finite()) is not None:
            run.meter.close()  # so that the error does not stand behind its bar
            raise _not_finite(*broken, run)
        run.meter.show(step, beta, run.scheduler.get_last_lr()[0])


def _not_finite(name: str, value: float, step: int, run: Run) -> InputError:
    """The error that offers a checkpoint with good weights: one before the bad value of step `step`."""
    existing = checkpoints.checkpoints_in(run.config.output_dir)
    good = [path for path in existing if checkpoints.step_of(path) < step]
    way_out = f"resume from {good[-1]}" if good else "start anew"
    return InputError(f"The {name} became {value} at step {step}: {way_out} with a lower learning_rate.")


def _keep_if_best(run: Run) -> None:
    """Validate, and save the model if its −ELBO is the lowest so far."""
    model, progress = run.average.of(run.model), run.progress
    pipeline = TextVAEPipeline(model, run.tokenizers.decoder, encoder_tokenizer=run.tokenizers.encoder)
    terms = posterior_terms(model, run.validation, range(len(run.validation)), run.config.seed)
    values = bound(terms)
    values["mutual_information"] = mutual_information(terms["mean"], terms["logvar"], terms["latents"])
    run.accelerator.log({f"validation_{name}": value for name, value in values.items()}, step=progress.step)
    is_best = values["negative_elbo"] < progress.best_negative_elbo
    if run.accelerator.is_main_process:
        tqdm.write(_validation_line(values, progress.step, model.config.latent_size, is_best), sys.stderr)
    if not math.isfinite(values["negative_elbo"]):
        raise _not_finite("validation −ELBO", values["negative_elbo"], progress.step, run)
    progress.is_aggressive &= values["mutual_information"] > progress.most_information
    progress.most_information = max(progress.most_information, values["mutual_information"])
    if is_best:
        progress.best_negative_elbo, progress.evaluations_since_best = values["negative_elbo"], 0
        if run.accelerator.is_main_process:
            replace_best(pipeline, Path(run.config.output_dir))
    else:
        progress.evaluations_since_best += 1
    run.accelerator.wait_for_everyone()
    run.model.train()


def _validation_line(values: dict, step: int, latent_size: int, is_best: bool) -> str:
    return (
        f"step {step:,}, validation: −ELBO {values['negative_elbo']:.2f} (rec {values['reconstruction']:.2f}, "
        f"KL {values['kl']:.2f}), MI {values['mutual_information']:.2f}, AU {values['active_units']}/{latent_size}"
        f"{', the best so far' if is_best else ''}"
    )


def _close(run: Run) -> None:
    """Stop the clock, the bar and the trackers, and say if a target rate was missed."""
    run.progress.count_seconds()
    run.meter.close()
    for tracker in run.accelerator.trackers:  # `end_training` would part the processes, which still have to evaluate
        tracker.finish()
    missed = None if run.controller is None else run.controller.missed()
    if missed and run.accelerator.is_main_process:
        logger.warning(missed)


def _finish(run: Run, about: About) -> TextVAEPipeline:
    """Evaluate the best model on the held-out texts, and save it as the result of the run."""
    output_dir = Path(run.config.output_dir)
    best = output_dir / BEST if (output_dir / BEST).exists() else output_dir  # a finished run may be resumed
    pipeline = TextVAEPipeline.from_pretrained(best, device=run.accelerator.device)
    started = time.monotonic()
    fit_prior(pipeline, run.train_set, run.config.seed)
    prior = pipeline.priors.get(USUAL)
    more = {"tokenizer": pipeline.tokenizer, "encoder_tokenizer": pipeline.encoder_tokenizer, "prior": prior}
    options = run.config.evaluation()
    if run.accelerator.is_main_process:  # before the report, which could fail
        pipeline.save_pretrained(output_dir)
    report = evaluate(pipeline.model, dataset=run.held_out, config=options, **more)
    report |= {
        **run.about_corpus,
        "steps": run.progress.step,
        "training_seconds": round(run.progress.seconds, 1),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "num_parameters": pipeline.model.num_parameters(),
    }
    if run.accelerator.is_main_process:
        pipeline.model.config.name_or_path = str(output_dir)
        options = run.config.seed, run.config.model_card_samples
        write_report(pipeline, report, run.held_out, output_dir, about, *options)
        _leave_files(pipeline)
        remove_directory(output_dir / BEST)
    run.accelerator.wait_for_everyone()
    return pipeline


def _say_how_to_go_on(run: Run) -> None:
    """Tell who interrupts a run how it is resumed."""
    run.meter.close()
    if not run.accelerator.is_main_process:
        return
    output_dir, there = run.config.output_dir, checkpoints.checkpoints_in(run.config.output_dir)
    if not there:
        logger.warning(
            "Interrupted at step %d, before the first checkpoint: start anew, perhaps with a smaller save_steps.",
            run.progress.step,
        )
        return
    how = 'train the same config with resume_from_checkpoint="latest"'
    if command := _command(run.accelerator.num_processes):
        flags = ["--config", f"{output_dir}/{CONFIG_FILE}", "--resume_from_checkpoint", "latest"]
        how = shlex.join([*command, *flags])
    step, last = run.progress.step, checkpoints.step_of(there[-1])
    logger.warning("Interrupted at step %d. To go on from step %d: %s", step, last, how)


def _command(num_processes: int) -> list[str]:
    """The words that start a training as this one was started; none if it was started from Python."""
    program = Path(sys.argv[0])
    if program.name == "train.py":
        return ["accelerate", "launch", sys.argv[0]]
    if program.name == "textvae" or program.parts[-2:] == ("textvae", "__main__.py"):
        return ["textvae", "train"] if num_processes == 1 else ["accelerate", "launch", "-m", "textvae", "train"]
    return []


def _leave_files(pipeline: TextVAEPipeline) -> None:
    """Copy the weights into memory: they are mapped from the file, which Windows then refuses to remove."""
    for tensor in (*pipeline.model.parameters(), *pipeline.model.buffers()):
        tensor.data = tensor.data.clone()


def _about(config: TrainingConfig, texts: Texts | None) -> About:
    """What the model card says of the origin of the model; a name that is no path here is one on the Hub."""
    is_embedded = texts is None and config.train_file is None and config.dataset_name is None
    origins = (config.model_name_or_path, config.encoder_name_or_path, config.decoder_name_or_path)
    dataset = config.dataset_name
    return About(
        language=config.language or ("en" if is_embedded else None),
        license=config.license,
        base_models=[name for name in origins if name is not None and not Path(name).exists()],
        dataset=None if dataset is None or Path(dataset).exists() else dataset,
        quotes=config.card_examples or is_embedded,
    )

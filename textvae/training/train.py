"""train(config): from a corpus to a saved pipeline, on one process or many."""

import logging
import math
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import set_seed
from tqdm.auto import tqdm
from transformers import get_scheduler

from textvae.data.corpora import Texts
from textvae.data.inference_batches import Corpus
from textvae.data.labels import labels_in
from textvae.data.tokenize import tokenize_corpus
from textvae.errors import InputError
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.likelihood import bound, posterior_terms
from textvae.evaluation.metrics import mutual_information
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import check_apart
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.processes import from_main, main_first, this_process
from textvae.report.model_card import write_report
from textvae.training import checkpoints
from textvae.training.batches import count_steps, make_batches, read_batches, read_random_batches
from textvae.training.build_model import build_model, compile_parts
from textvae.training.build_tokenizers import prepare_tokenizers
from textvae.training.collapse import CollapseMonitor
from textvae.training.config import TrainingConfig
from textvae.training.fine_tuning import report_coverage
from textvae.training.optimization import make_average, make_optimizer, reset_decoder
from textvae.training.output_dir import BEST, checkpoint_to_resume, claim_output_dir, replace_best
from textvae.training.precision import choose_mixed_precision, warn_of_slow_bf16
from textvae.training.progress import Meter
from textvae.training.resume import describe, resume
from textvae.training.setup import held_out_texts, read_corpus, warn_of_unknown
from textvae.training.step import Stepper, train_encoder
from textvae.training.trainable import checkpoint_activations, joining_parameters

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run stands; part of every checkpoint."""

    step: int = 0
    best_negative_elbo: float = math.inf
    evaluations_since_best: int = 0
    is_aggressive: bool = False  # the encoder trains ahead of the decoder, for as long as z comes to hold more of x
    most_information: float = -math.inf

    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, values: dict) -> None:
        self.__dict__.update(values)


def train(config: TrainingConfig, texts: Texts | None = None) -> TextVAEPipeline:
    """Train a text VAE and leave in `output_dir` a directory that `TextVAEPipeline.from_pretrained` opens.

    Each step minimises mean(reconstruction) + β · free_bits(KL), in nats per text, and what else the config asks for.
    The best model by validation −ELBO is kept; the directory also gets `metrics.json` and a model card with what it
    reaches on the held-out texts. An interrupted run that is resumed equals an uninterrupted one, and several processes
    equal one with the same global batch.

    Args:
        texts: what to train on where that is no file: a list of texts, a `datasets.Dataset` with the config's columns,
            or a `DatasetDict` with `train` and perhaps `validation`.

    Raises:
        InputError: for input that cannot be used, or a loss that is no longer finite, in one sentence.
    """
    this_process()
    checkpoint = checkpoint_to_resume(config)
    _check_trackers(config.report_to)
    AcceleratorState._reset_state()  # an earlier run of this process, in a notebook, may have had another precision
    accelerator = Accelerator(
        mixed_precision=choose_mixed_precision(config, checkpoint),
        log_with=config.report_to or None,
        project_dir=config.output_dir,
    )
    precisions = {"mixed_precision": accelerator.mixed_precision, "weights_dtype": config.weights_dtype}
    warn_of_slow_bf16(precisions, accelerator.device)
    set_seed(config.seed, device_specific=True)
    corpus = main_first(lambda: read_corpus(config, texts))
    tokenizer, encoder_tokenizer = prepare_tokenizers(config, corpus, checkpoint)
    coverage = report_coverage(config, corpus["train"], (tokenizer, encoder_tokenizer))
    model = build_model(config, tokenizer, encoder_tokenizer, labels_in(corpus["train"]))
    check_apart(model.config.base, config.output_dir)
    tokenizing = {"tokenizer": tokenizer, "max_length": tokenizer.model_max_length,
                  "encoder_tokenizer": encoder_tokenizer, "label_names": model.config.label_names}  # fmt: skip
    corpus = main_first(lambda: {name: tokenize_corpus(part, **tokenizing) for name, part in corpus.items()})
    held_out = held_out_texts(corpus["validation"])
    warn_of_unknown(held_out, tokenizer)
    batches = make_batches(config, corpus["train"], tokenizer, model, accelerator, encoder_tokenizer)
    total_steps, steps_per_epoch = count_steps(config, batches)
    optimizer = make_optimizer(config, model)
    # Left unprepared: a prepared scheduler would step once for every process.
    scheduler = get_scheduler(config.lr_scheduler_type, optimizer, int(config.warmup_ratio * total_steps), total_steps)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    average = make_average(config, model, total_steps)
    if config.torch_compile:
        compile_parts(model)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    progress = Progress(is_aggressive=config.aggressive_encoder)
    controller = config.new_rate_controller()
    kept = [scheduler, progress, average, controller]
    accelerator.register_for_checkpointing(*(part for part in kept if part is not None))
    about = describe(config, model, accelerator, batches)
    if model.config.base is not None:
        accelerator.register_save_state_pre_hook(lambda _, states, __: [_drop_base(model, state) for state in states])
    if checkpoint is not None:
        resume(accelerator, checkpoint, about, scheduler)
    from_main(lambda: claim_output_dir(config, (tokenizer, encoder_tokenizer), checkpoint))
    if config.report_to:
        accelerator.init_trackers("textvae", config={name: str(value) for name, value in asdict(config).items()})

    validation = Corpus(held_out, tokenizer, accelerator.device, config.per_device_eval_batch_size, encoder_tokenizer)
    micro_batches = read_batches(config, batches, progress.step, total_steps)
    meter = Meter(accelerator, total_steps, progress.step, model.config.latent_size)
    monitor = CollapseMonitor(accelerator, config, total_steps, steps_per_epoch)
    monitor_steps = None if model.config.is_language_model else config.monitor_steps
    joins_at = config.bottleneck_phase * total_steps
    stepper = Stepper(accelerator, config, wrapped, optimizer, meter, monitor, joining_parameters(model), joins_at)
    seconds_before, started = about["seconds"], time.monotonic()
    model.train()
    while progress.step < total_steps and not _has_stopped_early(config, progress):
        beta = config.kl_weight(progress.step, total_steps) if controller is None else controller.beta
        if config.kl_reset_decoder and config.kl_weight.begins_climb(progress.step, total_steps):
            reset_decoder(model, optimizer, config.seed + progress.step)
            average.restart()
        if progress.is_aggressive:
            random_batches = read_random_batches(config, batches, progress.step)
            train_encoder(stepper, model, random_batches, beta, progress.step)
        step_batches = [next(micro_batches) for _ in range(config.gradient_accumulation_steps)]
        kl = stepper.step(step_batches, beta, progress.step)
        scheduler.step()
        progress.step += 1
        average.update(model, progress.step)
        if controller is not None:
            controller.update(float(kl.sum()))

        is_last = progress.step == total_steps
        due_evaluation = progress.step % (config.eval_steps or steps_per_epoch) == 0 or is_last
        due_checkpoint = progress.step % config.save_steps == 0 or is_last
        if monitor_steps and progress.step % monitor_steps == 0:
            meter.shuffle_gap = monitor.check(model, stepper.last_batch, progress.step)["shuffle_gap"]
        if progress.step % config.logging_steps == 0 or due_evaluation or due_checkpoint:
            _stop_if_not_finite(meter, config)
            meter.show(progress.step, beta, scheduler.get_last_lr()[0])
        if due_evaluation:
            pipeline = TextVAEPipeline(average.of(model), tokenizer, encoder_tokenizer=encoder_tokenizer)
            _keep_if_best(accelerator, pipeline, validation, config, progress)
            model.train()
        if due_checkpoint:
            about["seconds"] = seconds_before + time.monotonic() - started
            checkpoints.save_checkpoint(accelerator, config.output_dir, progress.step, about, config.save_total_limit)
    meter.close()
    for tracker in accelerator.trackers:  # `end_training` would part the processes, which still have to evaluate
        tracker.finish()
    if controller is not None and accelerator.is_main_process and (missed := controller.missed()):
        logger.warning(missed)
    return _finish(accelerator, config, held_out, progress, seconds_before + time.monotonic() - started, coverage)


# before the loop


def _check_trackers(names: list[str]) -> None:
    available = [str(tracker.value) for tracker in get_available_trackers()]
    for name in names:
        if name not in available:
            usable = f"give {' or '.join(available)}" if available else "leave it out"
            raise InputError(f"report_to names {name!r}, which is not installed here: {usable}.")


def _drop_base(model: TextVAEModel, state: dict) -> None:
    """What is found again in the model's base need not be in every checkpoint."""
    of_base = [name for name in state if model.is_of_base(name.removeprefix("module."))]  # as several processes call it
    for name in of_base:
        del state[name]


# in the loop


def _has_stopped_early(config: TrainingConfig, progress: Progress) -> bool:
    patience = config.early_stopping_patience
    return patience is not None and progress.evaluations_since_best >= patience


def _stop_if_not_finite(meter: Meter, config: TrainingConfig) -> None:
    if (broken := meter.first_not_finite()) is not None:
        meter.close()  # so that the error does not stand behind its bar
        raise _gone_wrong(*broken, config)


def _gone_wrong(name: str, value: float, step: int, config: TrainingConfig) -> InputError:
    """Offers a checkpoint, but not one of the weights that gave the bad value: those after `step` steps."""
    good = [path for path in checkpoints.checkpoints_in(config.output_dir) if checkpoints.step_of(path) < step]
    way_out = f"resume from {good[-1]}" if good else "start anew"
    return InputError(f"The {name} became {value} at step {step}: {way_out} with a lower learning_rate.")


def _keep_if_best(accelerator, pipeline: TextVAEPipeline, validation: Corpus, config: TrainingConfig, progress):
    """Validate, and save the model if its −ELBO is the lowest so far."""
    terms = posterior_terms(pipeline.model, validation, range(len(validation)), config.seed)
    values = bound(terms)
    values["mutual_information"] = mutual_information(terms["mean"], terms["logvar"], terms["latents"])
    accelerator.log({f"validation_{name}": value for name, value in values.items()}, step=progress.step)
    is_best = values["negative_elbo"] < progress.best_negative_elbo
    if accelerator.is_main_process:
        tqdm.write(_validation_line(values, progress.step, pipeline.model.config.latent_size, is_best), sys.stderr)
    if not math.isfinite(values["negative_elbo"]):
        raise _gone_wrong("validation −ELBO", values["negative_elbo"], progress.step, config)
    progress.is_aggressive &= values["mutual_information"] > progress.most_information
    progress.most_information = max(progress.most_information, values["mutual_information"])
    if is_best:
        progress.best_negative_elbo, progress.evaluations_since_best = values["negative_elbo"], 0
        if accelerator.is_main_process:
            replace_best(pipeline, Path(config.output_dir))
    else:
        progress.evaluations_since_best += 1
    accelerator.wait_for_everyone()


def _validation_line(values: dict, step: int, latent_size: int, is_best: bool) -> str:
    return (
        f"step {step:,}, validation: −ELBO {values['negative_elbo']:.2f} (rec {values['reconstruction']:.2f}, "
        f"KL {values['kl']:.2f}), MI {values['mutual_information']:.2f}, AU {values['active_units']}/{latent_size}"
        f"{', the best so far' if is_best else ''}"
    )


# after the loop


def _finish(
    accelerator, config: TrainingConfig, validation_set, progress: Progress, seconds: float, coverage: dict
) -> TextVAEPipeline:
    """The best model, measured on the held-out texts, becomes the run's result."""
    output_dir = Path(config.output_dir)
    best = output_dir / BEST if (output_dir / BEST).exists() else output_dir  # where a finished run was resumed
    pipeline = TextVAEPipeline.from_pretrained(best, device=accelerator.device)
    started = time.monotonic()
    report = evaluate(
        pipeline.model,
        pipeline.tokenizer,
        validation_set,
        encoder_tokenizer=pipeline.encoder_tokenizer,
        num_importance_samples=config.num_importance_samples,
        num_importance_texts=config.num_importance_texts,
        num_reconstructed_texts=config.num_reconstructed_texts,
        max_new_tokens=pipeline.max_length,
        batch_size=config.per_device_eval_batch_size,
        seed=config.seed,
    )
    report |= {
        **coverage,
        "steps": progress.step,
        "training_seconds": round(seconds, 1),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "num_parameters": pipeline.model.num_parameters(),
    }
    if accelerator.is_main_process:
        pipeline.save_pretrained(output_dir)
        pipeline.model.config.name_or_path = str(output_dir)
        targets = None if config.target_column is None else validation_set["target"][:]
        labels = None if config.label_column is None else validation_set["label"][:]
        write_report(pipeline, report, validation_set["text"][:], output_dir, config.seed, targets, labels)
        shutil.rmtree(output_dir / BEST, ignore_errors=True)
    accelerator.wait_for_everyone()
    return pipeline

"""Set up a run: make everything it needs from its config, and check its input before anything is written."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import set_seed
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from textvae.data.corpora import Texts, load_corpus
from textvae.data.coverage import count_unknown, unknown_sentence
from textvae.data.duplicates import IN_TRAINING, count_in_training
from textvae.data.given import files_in, is_stream
from textvae.data.inference_batches import InferenceBatches
from textvae.data.labels import labels_in
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError
from textvae.evaluation.judges import open_judges
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import check_apart
from textvae.processes import forget_precision, from_main, main_first, this_process
from textvae.training.batches import count_steps, make_batches
from textvae.training.build_model import build_model, compile_parts
from textvae.training.build_tokenizers import Corpus, prepare_tokenizers
from textvae.training.collapse import CollapseMonitor
from textvae.training.config import TrainingConfig
from textvae.training.fine_tuning import report_coverage
from textvae.training.history import History
from textvae.training.optimization import make_average, make_optimizer, rate_schedule
from textvae.training.output_dir import checkpoint_to_resume, prepare_output_dir
from textvae.training.precision import choose_mixed_precision, warn_of_slow_bf16
from textvae.training.progress import Meter, Progress
from textvae.training.resume import as_it_began, describe, resume
from textvae.training.run import Run
from textvae.training.teacher import Teacher
from textvae.training.trainable import checkpoint_activations

logger = logging.getLogger(__name__)


def set_up(config: TrainingConfig, texts: Texts | None = None) -> Run:
    """Make a run, load its checkpoint if it is resumed, and prepare its directory.

    Raises:
        InputError: for input that cannot be used, in one sentence; then nothing was written or removed.
    """
    this_process()
    config, texts = _with_source(config, texts)
    checkpoint = checkpoint_to_resume(config)
    config = as_it_began(config, checkpoint)
    accelerator = _make_accelerator(config, checkpoint)
    open_judges(config.judge, config.judge_encoder, torch.device("cpu"))  # one that cannot be is told before training
    set_seed(config.seed, device_specific=True)
    corpus = main_first(lambda: read_corpus(config, texts))
    tokenizers = prepare_tokenizers(config, corpus, checkpoint)
    about_corpus = report_coverage(config, corpus["train"], tokenizers)
    model = build_model(config, tokenizers, labels_in(corpus["train"]))
    check_apart(model.config.base, config.output_dir)
    train_set, held_out = _tokenized(corpus, tokenizers, model)
    about_corpus |= _held_out_in_training(held_out, train_set)
    run = _assemble(config, accelerator, tokenizers, model, train_set, held_out, about_corpus)
    kept = [run.scheduler, run.progress, run.average, run.controller]
    accelerator.register_for_checkpointing(*(part for part in kept if part is not None))
    if model.config.base is not None:
        accelerator.register_save_state_pre_hook(lambda _, states, __: _drop_base(model, states))
    if checkpoint is not None:
        resume(run, checkpoint)
        if run.is_over() and accelerator.is_main_process:
            logger.warning("All %d steps of this run are done: its best model is evaluated again.", run.progress.step)
    from_main(lambda: prepare_output_dir(config, tokenizers, checkpoint))
    accelerator.init_trackers("textvae", config={name: str(value) for name, value in asdict(config).items()})
    return run


def _with_source(config: TrainingConfig, texts: Texts | None) -> tuple[TrainingConfig, Texts | None]:
    """The config that says what was given: files are its `train_file`, and a stream is `streaming`."""
    files = files_in(texts)
    if files is not None and config.train_file is None:
        return replace(config, train_file=files), None
    return (replace(config, streaming=True) if is_stream(texts) else config), texts


def _make_accelerator(config: TrainingConfig, checkpoint: Path | None) -> Accelerator:
    _check_trackers(config.report_to)
    forget_precision()
    accelerator = Accelerator(
        mixed_precision=choose_mixed_precision(config, checkpoint),
        log_with=[*config.report_to, History(config.output_dir)],
        project_dir=config.output_dir,
    )
    precisions = {"mixed_precision": accelerator.mixed_precision, "weights_dtype": config.weights_dtype}
    warn_of_slow_bf16(precisions, accelerator.device)
    return accelerator


def _check_trackers(names: list[str]) -> None:
    available = [str(tracker.value) for tracker in get_available_trackers()]
    for name in names:
        if name not in available:
            usable = f"give {' or '.join(available)}" if available else "leave it out"
            raise InputError(f"report_to names {name!r}, which is not installed here: {usable}.")


def read_corpus(config: TrainingConfig, texts: Texts | None = None) -> DatasetDict | IterableDatasetDict:
    """The splits `train` and `validation` that the config names, or of `texts`."""
    return load_corpus(
        config.train_file,
        config.validation_file,
        config.dataset_name,
        config.dataset_config_name,
        texts=texts,
        text_column=config.text_column,
        target_column=config.target_column,
        label_column=config.label_column,
        validation_split=config.validation_split,
        drop_duplicates=config.drop_duplicates,
        streaming=config.streaming,
        max_train_samples=config.max_train_samples,
        max_validation_samples=config.max_validation_samples,
        seed=config.seed,
    )


def _held_out_in_training(held_out: Dataset, train_set: Dataset | IterableDataset) -> dict[str, float]:
    """How many held-out texts training has, too; log if there are any. Nothing for a stream, which is not counted."""
    if isinstance(train_set, IterableDataset):
        return {}
    number = from_main(lambda: count_in_training(held_out, train_set))
    if number and this_process().is_main_process:
        logger.warning(
            "%d of the %d held-out texts are in training, too, which makes all results on them too good: give "
            "--drop_duplicates",
            *(number, len(held_out)),
        )
    return {IN_TRAINING: number}


def _tokenized(
    corpus: Corpus, tokenizers: TokenizerPair, model: TextVAEModel
) -> tuple[Dataset | IterableDataset, Dataset]:
    """Training and validation texts, tokenized; the latter in memory if they were streamed."""
    max_length, names = tokenizers.max_length, model.config.label_names

    def tokenize() -> dict:
        return {split: tokenize_corpus(part, tokenizers, max_length, names) for split, part in corpus.items()}

    tokenized = main_first(tokenize)
    held_out = tokenized["validation"]
    held_out = Dataset.from_list(list(held_out)) if isinstance(held_out, IterableDataset) else held_out
    if len(held_out) < 2:
        raise InputError(
            f"There are {len(held_out)} validation texts and 2 are needed: add texts, raise --validation_split, "
            "or give a --validation_file."
        )
    _warn_of_unknown(held_out, tokenizers.decoder)
    return tokenized["train"], held_out


def _warn_of_unknown(held_out: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Log how many target tokens of the validation texts are unknown, if any."""
    columns = held_out.column_names
    ids = held_out["target_ids" if "target_ids" in columns else "input_ids"][:]
    num_unknown = count_unknown(tokenizer, held_out["target" if "target" in columns else "text"], ids)
    if num_unknown and this_process().is_main_process:
        logger.warning("In the validation texts %s", unknown_sentence(tokenizer, num_unknown, sum(map(len, ids))))


def _teacher(config: TrainingConfig, train_set: Dataset | IterableDataset, device: torch.device) -> Teacher | None:
    if config.teacher is None:
        return None
    return Teacher(config.teacher, cast(Dataset, train_set), device)  # the config refuses a stream


def _assemble(
    config: TrainingConfig,
    accelerator: Accelerator,
    tokenizers: TokenizerPair,
    model: TextVAEModel,
    train_set: Dataset | IterableDataset,
    held_out: Dataset,
    about_corpus: dict[str, float],
) -> Run:
    """Batches, optimizer, schedule, average and what watches them; the model as Accelerate prepares it."""
    batches = make_batches(config, train_set, tokenizers, model, accelerator)
    total_steps, steps_per_epoch = count_steps(config, batches)
    optimizer = make_optimizer(config, model)
    scheduler = LambdaLR(optimizer, rate_schedule(config, total_steps))
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    average = make_average(config, model, total_steps)
    if config.torch_compile:
        compile_parts(model)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    return Run(
        config=config,
        accelerator=accelerator,
        tokenizers=tokenizers,
        model=model,
        wrapped=wrapped,
        optimizer=optimizer,
        scheduler=scheduler,
        average=average,
        controller=config.new_rate_controller(),
        teacher=_teacher(config, train_set, accelerator.device),
        batches=batches,
        train_set=train_set,
        held_out=held_out,
        validation=InferenceBatches(held_out, tokenizers, accelerator.device, config.per_device_eval_batch_size),
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        about_corpus=about_corpus,
        about=describe(config, model, accelerator, train_set if isinstance(train_set, Dataset) else None, held_out),
        progress=Progress(is_aggressive=config.aggressive_encoder),
        meter=Meter(accelerator, model.config.latent_size),
        monitor=CollapseMonitor(accelerator, config, total_steps, steps_per_epoch),
    )


def _drop_base(model: TextVAEModel, states: list[dict]) -> None:
    """Remove the weights of the base model from a checkpoint; they are found again in the base model."""
    for state in states:
        prefix = "module."  # of wrapped models
        for name in [name for name in state if model.is_of_base(name.removeprefix(prefix))]:
            del state[name]

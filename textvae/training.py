"""train(config): from a corpus to a saved pipeline, on one process or many."""

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, set_seed
from datasets import DatasetDict, IterableDatasetDict
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, get_scheduler

from textvae import checkpoints
from textvae.batching import LengthGroupedBatches, StreamedBatches
from textvae.configuration import TextVAEConfig
from textvae.data import load_corpus, tokenize_corpus
from textvae.errors import InputError
from textvae.evaluation import Corpus, bound, evaluate, posterior_terms
from textvae.meter import Meter
from textvae.modeling import TextVAEModel
from textvae.objectives import negative_elbo
from textvae.pipeline import TextVAEPipeline
from textvae.report import FINISHED, write_report
from textvae.tokenization import load_tokenizer, train_tokenizer, train_word_tokenizer
from textvae.training_config import TrainingConfig

logger = logging.getLogger(__name__)

BEST = "best"  # the best model so far, a pipeline of its own until the run is over
STREAMED_TOKENIZER_TEXTS = 100_000


@dataclass
class Progress:
    """Where a run stands; part of every checkpoint."""

    step: int = 0
    best_negative_elbo: float = math.inf
    evaluations_since_best: int = 0

    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, values: dict) -> None:
        self.__dict__.update(values)


def train(config: TrainingConfig) -> TextVAEPipeline:
    """Train a text VAE and leave in `output_dir` a directory that `TextVAEPipeline.from_pretrained` opens.

    Each step minimises mean(reconstruction) + β(step) · free_bits(KL), in nats per text. The best model by validation
    −ELBO is kept; the directory also gets `metrics.json` and a model card with what it reaches on the held-out texts.
    An interrupted run that is resumed equals an uninterrupted one, and several processes equal one with the same global
    batch.

    Raises:
        InputError: for input that cannot be used, or a loss that is no longer finite, in one sentence.
    """
    started = time.monotonic()
    checkpoint = _open_output_dir(config)
    accelerator = Accelerator(
        mixed_precision=_mixed_precision(config, checkpoint),
        log_with=config.report_to or None,
        project_dir=config.output_dir,
    )
    set_seed(config.seed, device_specific=True)
    with accelerator.main_process_first():
        corpus = _load_corpus(config)
        tokenizer = _prepare_tokenizer(config, corpus, accelerator, checkpoint)
        corpus = {name: tokenize_corpus(part, tokenizer, config.max_length) for name, part in corpus.items()}
    model = _build_model(config, tokenizer)
    batches = _batches(config, corpus["train"], tokenizer, model, accelerator)
    total_steps, steps_per_epoch = _count_steps(config, batches)
    optimizer = _optimizer(config, model)
    # Left unprepared: a prepared scheduler would step once for every process.
    scheduler = get_scheduler(config.lr_scheduler_type, optimizer, int(config.warmup_ratio * total_steps), total_steps)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if config.torch_compile:
        model.encoder.compile(dynamic=True)
        model.decoder.base_model.compile(dynamic=True)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    progress = Progress()
    accelerator.register_for_checkpointing(scheduler, progress)
    about = {"model": _architecture(model.config), "mixed_precision": accelerator.mixed_precision}
    if checkpoint is not None:
        _resume(accelerator, checkpoint, about)
    if config.report_to:
        accelerator.init_trackers("textvae", config={name: str(value) for name, value in asdict(config).items()})

    validation = Corpus(corpus["validation"], tokenizer, accelerator.device, config.per_device_eval_batch_size)
    micro_batches = _loader(config, batches, progress.step, total_steps)
    meter = Meter(accelerator, total_steps, progress.step, model.config.latent_size)
    model.train()
    while progress.step < total_steps and not _has_stopped_early(config, progress):
        beta = config.kl_weight(progress.step, total_steps)
        step_batches = [next(micro_batches) for _ in range(config.gradient_accumulation_steps)]
        texts_in_step = sum(batch.pop("num_texts") for batch in step_batches)
        for number, batch in enumerate(step_batches, start=1):
            batch = {name: tensor.to(accelerator.device, non_blocking=True) for name, tensor in batch.items()}
            with nullcontext() if number == len(step_batches) else accelerator.no_sync(wrapped):
                output = wrapped(**batch)
                mean_kl = accelerator.reduce(output.kl.detach().mean(0), "mean")
                loss = negative_elbo(
                    output.reconstruction, output.kl, beta, config.free_bits, config.free_bits_mode, mean_kl
                )
                # Gradients are averaged over processes and summed over micro-batches: every text of the step gets
                # the same weight, also where a last batch is smaller.
                share = len(batch["labels"]) * accelerator.num_processes / texts_in_step
                accelerator.backward(loss * share)
            meter.add(output, batch["labels"], loss, progress.step, progress.step * len(step_batches) + number - 1)
        accelerator.clip_grad_norm_(wrapped.parameters(), config.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        progress.step += 1

        is_last = progress.step == total_steps
        due_evaluation = progress.step % (config.eval_steps or steps_per_epoch) == 0 or is_last
        due_checkpoint = progress.step % config.save_steps == 0 or is_last
        if progress.step % config.logging_steps == 0 or due_evaluation or due_checkpoint:
            meter.show(progress.step, beta, scheduler.get_last_lr()[0])
        if due_evaluation:
            _keep_if_best(accelerator, model, tokenizer, validation, config, progress)
        if due_checkpoint:
            checkpoints.save_checkpoint(accelerator, config.output_dir, progress.step, about, config.save_total_limit)
    meter.close()
    accelerator.end_training()
    return _finish(accelerator, config, corpus["validation"], progress, time.monotonic() - started)


# before the loop


def _open_output_dir(config: TrainingConfig) -> Path | None:
    """The checkpoint to resume from, if any; nothing that a run left is overwritten unless that is asked for."""
    state, output_dir = PartialState(), Path(config.output_dir)
    checkpoint = None
    if config.resume_from_checkpoint is not None:
        checkpoint = checkpoints.find_checkpoint(config.resume_from_checkpoint, output_dir)
    elif not config.overwrite_output_dir:
        if (output_dir / FINISHED).exists():
            raise InputError(f"{output_dir} holds a finished run: give overwrite_output_dir or another output_dir.")
        if checkpoints.checkpoints_in(output_dir):
            raise InputError(
                f"{output_dir} holds an unfinished run: give resume_from_checkpoint: latest, overwrite_output_dir, "
                "or another output_dir."
            )
    state.wait_for_everyone()
    if state.is_main_process:
        output_dir.mkdir(parents=True, exist_ok=True)
        if config.overwrite_output_dir and checkpoint is None:
            (output_dir / FINISHED).unlink(missing_ok=True)
            for old in [*checkpoints.checkpoints_in(output_dir), output_dir / BEST]:
                shutil.rmtree(old, ignore_errors=True)
        config.save(output_dir / "training_config.yaml")
    state.wait_for_everyone()
    return checkpoint


def _mixed_precision(config: TrainingConfig, checkpoint: Path | None) -> str:
    """`auto` stays what it was when a run is resumed, follows `accelerate launch --mixed_precision`, or measures."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    if checkpoint is not None:
        return checkpoints.about(checkpoint)["mixed_precision"]
    if (asked := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) != "no":
        return asked
    state = PartialState()
    return broadcast_object_list(["bf16" if _bf16_is_faster(state.device) else "no"])[0]


def _bf16_is_faster(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.bfloat16] < 0.7 * seconds[torch.float32]


def _load_corpus(config: TrainingConfig) -> DatasetDict | IterableDatasetDict:
    return load_corpus(
        config.train_file,
        config.validation_file,
        config.dataset_name,
        config.dataset_config_name,
        text_column=config.text_column,
        validation_split=config.validation_split,
        streaming=config.streaming,
        max_train_samples=config.max_train_samples,
        max_validation_samples=config.max_validation_samples,
        seed=config.seed,
    )


def _prepare_tokenizer(config: TrainingConfig, corpus, accelerator: Accelerator, checkpoint: Path | None):
    """The run's tokenizer, from `output_dir` where the main process or the interrupted run has put it already."""
    if checkpoint is not None or not accelerator.is_main_process:
        return load_tokenizer(config.output_dir)
    tokenizer = _make_tokenizer(config, corpus)
    tokenizer.model_max_length = config.max_length
    tokenizer.save_pretrained(config.output_dir)
    return tokenizer


def _make_tokenizer(config: TrainingConfig, corpus) -> PreTrainedTokenizerBase:
    if config.model_name_or_path is not None:
        return load_tokenizer(config.model_name_or_path)
    if config.tokenizer not in ("sentencepiece", "word"):
        return load_tokenizer(config.tokenizer)
    rows = islice(corpus["train"], STREAMED_TOKENIZER_TEXTS) if config.streaming else corpus["train"]
    texts = (row["text"] for row in rows)
    if config.tokenizer == "word":
        return train_word_tokenizer(texts)
    return train_tokenizer(texts, config.vocab_size, seed=config.seed)


def _build_model(config: TrainingConfig, tokenizer: PreTrainedTokenizerBase) -> TextVAEModel:
    if config.model_name_or_path is not None:
        return TextVAEPipeline.from_pretrained(config.model_name_or_path, device="cpu").model
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    shared = {"vocab_size": len(tokenizer), **ids}
    model_config = TextVAEConfig(
        encoder=shared | config.encoder,
        decoder=shared | config.decoder,
        latent_size=config.latent_size,
        latent_injection=config.latent_injection,
        latent_tokens=config.latent_tokens,
        pooling=config.pooling,
        initializer_range=config.initializer_range,
        **ids,
    )
    for part, length in ((model_config.encoder, 0), (model_config.decoder, model_config.prefix_length)):
        limit = part.to_dict().get(part.attribute_map.get("max_position_embeddings", "max_position_embeddings"))
        if limit is not None and config.max_length + length > limit:
            raise InputError(
                f"The {part.model_type} has {limit} positions, too few for max_length {config.max_length} + {length}: "
                "lower max_length or raise max_position_embeddings."
            )
    return TextVAEModel(model_config)


def _batches(config, dataset, tokenizer, model: TextVAEModel, accelerator: Accelerator):
    kind = StreamedBatches if config.streaming else LengthGroupedBatches
    return kind(
        dataset,
        tokenizer,
        config.per_device_train_batch_size,
        latent_size=model.config.latent_size,
        seed=config.seed,
        num_processes=accelerator.num_processes,
        process_index=accelerator.process_index,
        noise=config.input_noise,
    )


def _count_steps(config: TrainingConfig, batches) -> tuple[int, int]:
    """Optimizer steps of the run and of an epoch; a stream is one epoch long."""
    if config.streaming:
        return config.max_steps, config.max_steps
    steps_per_epoch = math.ceil(batches.batches_per_epoch / config.gradient_accumulation_steps)
    total = math.ceil(batches.batches_per_epoch * config.num_train_epochs / config.gradient_accumulation_steps)
    return config.max_steps or total, steps_per_epoch


def _optimizer(config: TrainingConfig, model: TextVAEModel) -> torch.optim.Optimizer:
    """AdamW that decays matrices only (Loshchilov & Hutter 2019)."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    betas = (config.adam_beta1, config.adam_beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)


def _loader(config: TrainingConfig, batches, step: int, total_steps: int) -> Iterator[dict]:
    """Micro-batches from optimizer step `step` on."""
    first, end = (number * config.gradient_accumulation_steps for number in (step, total_steps))
    options = {"batch_size": None, "num_workers": config.dataloader_num_workers,
               "pin_memory": torch.cuda.is_available()}  # fmt: skip
    if config.streaming:
        batches.start_index = first
        return iter(DataLoader(batches, **options))
    return iter(DataLoader(batches, sampler=range(first, end), **options))


def _architecture(config: TextVAEConfig) -> dict:
    """What two models must share for one's weights to fit the other."""
    values = config.to_dict()
    parts = {name: _without_session(values.pop(name)) for name in ("encoder", "decoder")}
    return _without_session(values) | parts


def _without_session(values: dict) -> dict:
    session = {"transformers_version", "dtype", "_name_or_path", "architectures", "_attn_implementation", "use_cache"}
    return {name: value for name, value in values.items() if name not in session}


def _resume(accelerator: Accelerator, checkpoint: Path, about: dict) -> None:
    saved = checkpoints.about(checkpoint)["model"]
    wrong = [name for name in about["model"] if saved.get(name) != about["model"][name]]
    if wrong:
        raise InputError(
            f"The checkpoint {checkpoint} is of another architecture: its {', '.join(wrong)} differ from this run's; "
            "resume with the settings it was trained with, or start anew in another output_dir."
        )
    accelerator.load_state(str(checkpoint))


# in the loop


def _has_stopped_early(config: TrainingConfig, progress: Progress) -> bool:
    patience = config.early_stopping_patience
    return patience is not None and progress.evaluations_since_best >= patience


def _keep_if_best(accelerator, model, tokenizer, validation: Corpus, config: TrainingConfig, progress: Progress):
    """Validate, and save the model if its −ELBO is the lowest so far."""
    model.eval()
    values = bound(posterior_terms(model, validation, range(len(validation)), config.seed))
    accelerator.log({f"validation_{name}": value for name, value in values.items()}, step=progress.step)
    if accelerator.is_main_process:
        logger.info("step %d, validation: %s", progress.step, values)
    if values["negative_elbo"] < progress.best_negative_elbo:
        progress.best_negative_elbo, progress.evaluations_since_best = values["negative_elbo"], 0
        if accelerator.is_main_process:
            _replace_best(TextVAEPipeline(model, tokenizer), Path(config.output_dir))
    else:
        progress.evaluations_since_best += 1
    accelerator.wait_for_everyone()
    model.train()


def _replace_best(pipeline: TextVAEPipeline, output_dir: Path) -> None:
    """Written beside the old one first: a run killed here still has one of the two."""
    unfinished, old, best = (output_dir / name for name in (".best.unfinished", ".best.old", BEST))
    shutil.rmtree(unfinished, ignore_errors=True)
    pipeline.save_pretrained(unfinished)
    shutil.rmtree(old, ignore_errors=True)
    if best.exists():
        os.replace(best, old)
    os.replace(unfinished, best)
    shutil.rmtree(old, ignore_errors=True)


# after the loop


def _finish(accelerator, config: TrainingConfig, validation_set, progress: Progress, seconds: float) -> TextVAEPipeline:
    """The best model, measured on the held-out texts, becomes the run's result."""
    output_dir = Path(config.output_dir)
    pipeline = TextVAEPipeline.from_pretrained(output_dir / BEST, device=accelerator.device)
    started = time.monotonic()
    report = evaluate(
        pipeline.model,
        pipeline.tokenizer,
        validation_set,
        num_importance_samples=config.num_importance_samples,
        num_importance_texts=config.num_importance_texts,
        num_reconstructed_texts=config.num_reconstructed_texts,
        max_new_tokens=config.max_length,
        batch_size=config.per_device_eval_batch_size,
        seed=config.seed,
    )
    report |= {
        "steps": progress.step,
        "training_seconds": round(seconds, 1),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "num_parameters": pipeline.model.num_parameters(),
    }
    if accelerator.is_main_process:
        pipeline.save_pretrained(output_dir)
        write_report(pipeline, report, validation_set["text"][:], output_dir, seed=config.seed)
        shutil.rmtree(output_dir / BEST)
    accelerator.wait_for_everyone()
    return pipeline

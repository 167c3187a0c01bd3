"""train(config): from a corpus to a saved pipeline, on one process or many."""

import json
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
from textwrap import shorten

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import broadcast_object_list, set_seed
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from huggingface_hub.errors import StrictDataclassError
from torch.utils.data import DataLoader
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, get_scheduler

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
from textvae.processes import from_main, main_first, this_process
from textvae.report import FINISHED, write_report
from textvae.tokenization import load_tokenizer, train_tokenizer, train_word_tokenizer
from textvae.training_config import TrainingConfig, nearest

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
    this_process()
    checkpoint = _checkpoint_to_resume(config)
    _check_trackers(config.report_to)
    AcceleratorState._reset_state()  # an earlier run of this process, in a notebook, may have had another precision
    accelerator = Accelerator(
        mixed_precision=choose_mixed_precision(config, checkpoint),
        log_with=config.report_to or None,
        project_dir=config.output_dir,
    )
    set_seed(config.seed, device_specific=True)
    corpus = main_first(lambda: _load_corpus(config))
    tokenizer = _prepare_tokenizer(config, corpus, checkpoint)
    corpus = main_first(
        lambda: {name: tokenize_corpus(part, tokenizer, config.max_length) for name, part in corpus.items()}
    )
    held_out = _held_out(corpus["validation"])
    model = build_model(config, tokenizer)
    batches = _batches(config, corpus["train"], tokenizer, model, accelerator)
    total_steps, steps_per_epoch = _count_steps(config, batches)
    optimizer = make_optimizer(config, model)
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
        _resume(accelerator, checkpoint, about, scheduler, config)
    from_main(lambda: _claim_output_dir(config, tokenizer, checkpoint))
    if config.report_to:
        accelerator.init_trackers("textvae", config={name: str(value) for name, value in asdict(config).items()})

    validation = Corpus(held_out, tokenizer, accelerator.device, config.per_device_eval_batch_size)
    micro_batches = _loader(config, batches, progress.step, total_steps)
    meter = Meter(accelerator, total_steps, progress.step, model.config.latent_size)
    model.train()
    while progress.step < total_steps and not _has_stopped_early(config, progress):
        beta = config.kl_weight(progress.step, total_steps)
        step_batches = [next(micro_batches) for _ in range(config.gradient_accumulation_steps)]
        num_texts = [batch.pop("num_texts") for batch in step_batches]  # of all processes
        for number, batch in enumerate(step_batches):
            batch = {name: tensor.to(accelerator.device, non_blocking=True) for name, tensor in batch.items()}
            with nullcontext() if number + 1 == len(step_batches) else accelerator.no_sync(wrapped):
                output = wrapped(**batch)
                mean_kl = accelerator.reduce(output.kl.detach().sum(0), "sum") / num_texts[number]
                loss = negative_elbo(
                    output.reconstruction, output.kl, beta, config.free_bits, config.free_bits_mode, mean_kl
                )
                # Gradients are averaged over processes and summed over micro-batches: every text of the step gets
                # the same weight, also where a last batch is smaller.
                share = len(batch["labels"]) * accelerator.num_processes / sum(num_texts)
                accelerator.backward(loss * share)
            meter.add(output, batch["labels"], loss, progress.step, progress.step * len(step_batches) + number)
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), config.max_grad_norm)
        if accelerator.scaler is None:  # which leaves out the steps that overflow fp16
            meter.watch("gradient", norm, progress.step)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        progress.step += 1

        is_last = progress.step == total_steps
        due_evaluation = progress.step % (config.eval_steps or steps_per_epoch) == 0 or is_last
        due_checkpoint = progress.step % config.save_steps == 0 or is_last
        if progress.step % config.logging_steps == 0 or due_evaluation or due_checkpoint:
            _stop_if_not_finite(meter, config)
            meter.show(progress.step, beta, scheduler.get_last_lr()[0])
        if due_evaluation:
            _keep_if_best(accelerator, model, tokenizer, validation, config, progress)
        if due_checkpoint:
            checkpoints.save_checkpoint(accelerator, config.output_dir, progress.step, about, config.save_total_limit)
    meter.close()
    for tracker in accelerator.trackers:  # `end_training` would part the processes, which still have to evaluate
        tracker.finish()
    return _finish(accelerator, config, held_out, progress, time.monotonic() - started)


# before the loop


def _checkpoint_to_resume(config: TrainingConfig) -> Path | None:
    """The checkpoint to resume from, if any; a directory that is taken is refused unless that is asked for."""
    output_dir = Path(config.output_dir)
    if config.resume_from_checkpoint is not None:
        return checkpoints.find_checkpoint(config.resume_from_checkpoint, output_dir)
    taken = [output_dir / name for name in (FINISHED, "README.md", "model.safetensors")]
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir} is a file: give another --output_dir.")
    if not config.overwrite_output_dir and any(path.exists() for path in taken):
        raise InputError(f"{output_dir} holds a finished run: give --overwrite_output_dir or another --output_dir.")
    if not config.overwrite_output_dir and checkpoints.checkpoints_in(output_dir):
        raise InputError(
            f"{output_dir} holds an unfinished run: give --resume_from_checkpoint latest, "
            "--overwrite_output_dir, or another --output_dir."
        )
    return None


def _claim_output_dir(config: TrainingConfig, tokenizer, checkpoint: Path | None) -> None:
    """All input has proved usable: only now is anything written, or what an earlier run left removed."""
    output_dir = Path(config.output_dir)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        config.save(output_dir / "training_config.yaml")
        leftovers = [*output_dir.glob(".checkpoint-*.unfinished"), *output_dir.glob(".best.*")]
        if checkpoint is None:
            (output_dir / FINISHED).unlink(missing_ok=True)
            leftovers += output_dir.glob(BEST)
        start = -1 if checkpoint is None else checkpoints.step_of(checkpoint)
        leftovers += [path for path in checkpoints.checkpoints_in(output_dir) if checkpoints.step_of(path) > start]
        for path in leftovers:
            shutil.rmtree(path)
        tokenizer.save_pretrained(output_dir)
    except OSError as error:
        raise InputError(f"{output_dir} cannot be written to ({error.strerror}): give another --output_dir.") from error


def _check_trackers(names: list[str]) -> None:
    available = [str(tracker.value) for tracker in get_available_trackers()]
    for name in names:
        if name not in available:
            usable = f"give {' or '.join(available)}" if available else "leave it out"
            raise InputError(f"report_to names {name!r}, which is not installed here: {usable}.")


def choose_mixed_precision(config: TrainingConfig, checkpoint: Path | None = None) -> str:
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


def _held_out(dataset: Dataset | IterableDataset) -> Dataset:
    """The validation texts, in memory if they were streamed."""
    held_out = Dataset.from_list(list(dataset)) if isinstance(dataset, IterableDataset) else dataset
    if len(held_out) < 2:
        raise InputError(
            f"There are {len(held_out)} validation texts and 2 are needed: add texts, raise --validation_split, "
            "or give a --validation_file."
        )
    return held_out


def _prepare_tokenizer(config: TrainingConfig, corpus, checkpoint: Path | None) -> PreTrainedTokenizerBase:
    """The interrupted run's tokenizer, or the one that the main process makes."""
    if checkpoint is not None:
        tokenizer = load_tokenizer(config.output_dir)
    else:
        tokenizer = from_main(lambda: make_tokenizer(config, corpus))
    tokenizer.model_max_length = config.max_length
    return tokenizer


def make_tokenizer(config: TrainingConfig, corpus) -> PreTrainedTokenizerBase:
    if config.model_name_or_path is not None:
        return load_tokenizer(config.model_name_or_path)
    if config.tokenizer not in ("sentencepiece", "word"):
        return load_tokenizer(config.tokenizer)
    rows = islice(corpus["train"], STREAMED_TOKENIZER_TEXTS) if config.streaming else corpus["train"]
    texts = (row["text"] for row in rows)
    if config.tokenizer == "word":
        return train_word_tokenizer(texts)
    return train_tokenizer(texts, config.vocab_size, seed=config.seed)


def build_model(config: TrainingConfig, tokenizer: PreTrainedTokenizerBase) -> TextVAEModel:
    if config.model_name_or_path is not None:
        model = TextVAEPipeline.from_pretrained(config.model_name_or_path, device="cpu", dtype=torch.float32).model
    else:
        model = _new_model(config, tokenizer)
    for part, length in ((model.config.encoder, 0), (model.config.decoder, model.config.prefix_length)):
        limit = part.to_dict().get(part.attribute_map.get("max_position_embeddings", "max_position_embeddings"))
        if limit is not None and config.max_length + length > limit:
            raise InputError(
                f"The {part.model_type} has {limit} positions, too few for max_length {config.max_length} + {length}: "
                "lower max_length or raise max_position_embeddings."
            )
    return model


def _new_model(config: TrainingConfig, tokenizer: PreTrainedTokenizerBase) -> TextVAEModel:
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    shared = {"vocab_size": len(tokenizer), **ids}
    try:
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
        _check_names("encoder", config.encoder, model_config.encoder)
        _check_names("decoder", config.decoder, model_config.decoder)
        return TextVAEModel(model_config)
    except InputError:
        raise
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError, StrictDataclassError) as error:
        reason = shorten(str(error), 200)
        raise InputError(f"No model can be built from these encoder and decoder: correct them ({reason}).") from error


def _check_names(part: str, given: dict, config: PreTrainedConfig) -> None:
    """Hugging Face's configs keep any name in silence."""
    known, kept = [*type(config)().to_dict(), *config.attribute_map], config.to_dict()
    for name in given:
        if name in kept and name not in known:
            raise InputError(
                f"The {part} {config.model_type} has no setting {name!r}; did you mean {nearest(name, known)!r}?"
            )


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


def make_optimizer(config: TrainingConfig, model: TextVAEModel) -> torch.optim.Optimizer:
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
               "pin_memory": torch.cuda.is_available(),
               # Without one of its own a loader draws from torch's random state, once more in a resumed run.
               "generator": torch.Generator().manual_seed(config.seed)}  # fmt: skip
    if config.streaming:
        batches.start_index = first
        return iter(DataLoader(batches, **options))
    return iter(DataLoader(batches, sampler=range(first, end), **options))


def _architecture(config: TextVAEConfig) -> dict:
    """What two models must share for one's weights to fit the other; JSON."""
    values = config.to_dict()
    parts = {name: _without_session(values.pop(name)) for name in ("encoder", "decoder")}
    return json.loads(json.dumps(_without_session(values) | parts))  # as a checkpoint gives it back


def _without_session(values: dict) -> dict:
    session = {"transformers_version", "dtype", "_name_or_path", "architectures", "_attn_implementation", "use_cache"}
    return {name: value for name, value in values.items() if name not in session}


def _resume(accelerator: Accelerator, checkpoint: Path, about: dict, scheduler, config: TrainingConfig) -> None:
    saved = checkpoints.about(checkpoint)["model"]
    wrong = [name for name in about["model"] if saved.get(name) != about["model"][name]]
    if wrong:
        raise InputError(
            f"The checkpoint {checkpoint} is of another architecture: its {', '.join(wrong)} differ from this run's; "
            "resume with the settings it was trained with, or start anew in another --output_dir."
        )
    accelerator.load_state(str(checkpoint))
    _set_learning_rate(scheduler, config.learning_rate)


def _set_learning_rate(scheduler, learning_rate: float) -> None:
    """A resumed run learns at the rate it is told now."""
    scheduler.base_lrs = [learning_rate] * len(scheduler.base_lrs)
    for group, schedule in zip(scheduler.optimizer.param_groups, scheduler.lr_lambdas, strict=True):
        group["initial_lr"] = learning_rate
        group["lr"] = learning_rate * schedule(scheduler.last_epoch)


# in the loop


def _has_stopped_early(config: TrainingConfig, progress: Progress) -> bool:
    patience = config.early_stopping_patience
    return patience is not None and progress.evaluations_since_best >= patience


def _stop_if_not_finite(meter: Meter, config: TrainingConfig) -> None:
    if (broken := meter.first_not_finite()) is not None:
        raise _gone_wrong(*broken, config)


def _gone_wrong(name: str, value: float, step: int, config: TrainingConfig) -> InputError:
    """Offers a checkpoint, but not one of the weights that gave the bad value: those after `step` steps."""
    good = [path for path in checkpoints.checkpoints_in(config.output_dir) if checkpoints.step_of(path) < step]
    way_out = f"resume from {good[-1]}" if good else "start anew"
    return InputError(f"The {name} became {value} at step {step}: {way_out} with a lower learning_rate.")


def _keep_if_best(accelerator, model, tokenizer, validation: Corpus, config: TrainingConfig, progress: Progress):
    """Validate, and save the model if its −ELBO is the lowest so far."""
    model.eval()
    values = bound(posterior_terms(model, validation, range(len(validation)), config.seed))
    accelerator.log({f"validation_{name}": value for name, value in values.items()}, step=progress.step)
    if accelerator.is_main_process:
        logger.info("step %d, validation: %s", progress.step, values)
    if not math.isfinite(values["negative_elbo"]):
        raise _gone_wrong("validation −ELBO", values["negative_elbo"], progress.step, config)
    if values["negative_elbo"] < progress.best_negative_elbo:
        progress.best_negative_elbo, progress.evaluations_since_best = values["negative_elbo"], 0
        if accelerator.is_main_process:
            _replace_best(TextVAEPipeline(model, tokenizer, config.max_length), Path(config.output_dir))
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
    best = output_dir / BEST if (output_dir / BEST).exists() else output_dir  # where a finished run was resumed
    pipeline = TextVAEPipeline.from_pretrained(best, device=accelerator.device)
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
        shutil.rmtree(output_dir / BEST, ignore_errors=True)
    accelerator.wait_for_everyone()
    return pipeline

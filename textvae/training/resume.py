"""Resuming a run: what a checkpoint must match."""

import json
import logging
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from datasets import Dataset

from textvae.data.padding import TokenRows
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.configuration import TextVAEConfig
from textvae.training import checkpoints
from textvae.training.changes import changed
from textvae.training.checks import PARTS
from textvae.training.config import CONFIG_FILE, TrainingConfig
from textvae.training.optimization import set_learning_rates
from textvae.training.planner import keep_plan
from textvae.training.run import Run

logger = logging.getLogger(__name__)

# Settings that a checkpoint may be older than, and what every run did then.
BEFORE = {"optimizer": "adamw", "tie_encoder_embeddings": False, "pooling_queries": 8, "position_waves": 0}


def as_it_began(config: TrainingConfig, checkpoint: Path | None) -> TrainingConfig:
    """The config of a resumed run, which does not take the default of a setting that is newer than its checkpoint."""
    if checkpoint is None:
        return config
    settings = checkpoints.about(checkpoint).get("settings", {})
    return replace(config, **{name: value for name, value in BEFORE.items() if name not in settings})


def describe(
    config: TrainingConfig, model: TextVAEModel, accelerator: Accelerator, train_set: Dataset | None, held_out: Dataset
) -> dict:
    """What a checkpoint must match to be resumed; JSON.

    Args:
        train_set: None for a stream, whose tokens are not known before its end.
    """
    return {
        "model": _architecture(model.config),
        "mixed_precision": accelerator.mixed_precision,
        "kl_controller": None if config.kl_target is None else config.kl_controller,
        "own_rates": [part for part in PARTS if getattr(config, f"{part}_learning_rate") is not None],
        "corpus": None if train_set is None else _contents(train_set, held_out),
        "batch": {
            "texts": config.per_device_train_batch_size * accelerator.num_processes,
            "gradient_accumulation_steps": config.gradient_accumulation_steps,
        },
        "settings": json.loads(json.dumps(asdict(config))),
    }


def resume(run: Run, checkpoint: Path) -> None:
    """Load a checkpoint into a run, whose learning rates stay what they are.

    Raises:
        InputError: if the checkpoint has another model, corpus, batch size, controller or set of learning rates, or
            another value of a setting that must not change; or if it holds more than numbers.
    """
    saved, about = checkpoints.about(checkpoint), run.about
    _check_controller(checkpoint, saved.get("kl_controller"), about["kl_controller"])
    architecture = {"label_names": [], **BEFORE, **saved["model"]}
    wrong = [name for name in about["model"] if architecture.get(name) != about["model"][name]]
    if wrong:
        raise InputError(
            f"The checkpoint {checkpoint} is of another architecture: its {', '.join(wrong)} differ from this run's; "
            "resume with the settings it was trained with, or start anew in another --output_dir."
        )
    if saved.get("own_rates", about["own_rates"]) != about["own_rates"]:
        raise InputError(
            f"The checkpoint {checkpoint} was trained with another set of learning rates: give encoder_learning_rate "
            "and decoder_learning_rate where it had them, and only there."
        )
    said = changed(saved.get("settings", {}), about["settings"], run.config.streaming)
    _check_corpus(checkpoint, saved.get("corpus"), about["corpus"])
    _check_batch(checkpoint, saved.get("batch", about["batch"]), about["batch"])
    if saved["mixed_precision"] != about["mixed_precision"]:
        said.append(f"mixed_precision {about['mixed_precision']} (before {saved['mixed_precision']})")
    if said and run.accelerator.is_main_process:
        logger.warning("The run goes on with other settings: %s.", ", ".join(said))
    learning_rates = list(run.scheduler.base_lrs)
    options = {} if about["model"]["base"] is None else {"strict": False}
    checkpoints.load_checkpoint(run.accelerator, checkpoint, **options)
    set_learning_rates(run.scheduler, learning_rates)
    run.progress.seconds += saved.get("seconds", 0.0)  # where older versions kept it
    keep_plan(run, saved.get("settings", {}).get("max_minutes"))


def _architecture(config: TextVAEConfig) -> dict:
    """What two models must share for the weights of one to fit the other; JSON."""
    values = config.to_dict()
    parts = {name: _without_session(values.pop(name)) for name in ("encoder", "decoder")}
    return json.loads(json.dumps(_without_session(values) | parts))  # as a checkpoint gives it back


def _without_session(values: dict) -> dict:
    session = {"transformers_version", "dtype", "_name_or_path", "architectures", "_attn_implementation", "use_cache"}
    return {name: value for name, value in values.items() if name not in {*session, "trained_with_noise"}}


def _contents(train_set: Dataset, held_out: Dataset) -> dict:
    """Tells one corpus from another, wherever its file is: the tokens of its texts, in their order."""
    digest, lengths = blake2b(digest_size=16), {}
    for split, dataset in (("train", train_set), ("validation", held_out)):
        sides = [name for name in ("input_ids", "target_ids") if name in dataset.column_names]
        rows = [TokenRows.of_column(dataset, name) for name in sides]
        for side in rows:
            digest.update(side.lengths.tobytes() + side.flat.astype(np.int32).tobytes())
        if "label_id" in dataset.column_names:
            digest.update(np.asarray(dataset["label_id"][:], dtype=np.int32).tobytes())
        lengths[split] = np.maximum.reduce([side.lengths for side in rows])
    tokens = int(lengths["train"].sum())
    return {"texts": len(train_set), "tokens": tokens, "digest": digest.hexdigest()}


def _check_corpus(checkpoint: Path, saved: dict | None, ours: dict | None) -> None:
    if saved is None or ours is None or saved == {name: ours[name] for name in saved}:  # older ones have no digest
        return
    was, now = (f"{size['texts']:,} texts and {size['tokens']:,} tokens" for size in (saved, ours))
    is_same_size = was == now
    raise InputError(
        f"The checkpoint {checkpoint} is of a corpus of {was}, and this one is "
        f"{'another of that size' if is_same_size else f'of {now}'}: resume with --config "
        f"{checkpoint.parent / CONFIG_FILE}, which has all its settings, or start anew in another --output_dir."
    )


def _check_batch(checkpoint: Path, saved: dict, ours: dict) -> None:
    """The number of processes may change, and not what they do together."""
    if saved != ours:
        was, now = (f"{one['gradient_accumulation_steps']} × {one['texts']} texts" for one in (saved, ours))
        raise InputError(
            f"The checkpoint {checkpoint} was trained with {was} in an optimizer step, and this run has {now}: keep "
            "per_device_train_batch_size times the number of processes, and gradient_accumulation_steps."
        )


def _check_controller(checkpoint: Path, saved: str | None, kind: str | None) -> None:
    if kind != saved:
        ours, theirs = ("without kl_target" if name is None else f"with kl_target and {name}" for name in (kind, saved))
        raise InputError(
            f"The checkpoint {checkpoint} was trained {theirs}, and this run is {ours}: "
            "resume with what it was trained with, or start anew in another --output_dir."
        )

"""Resuming a run: what a checkpoint must match."""

import json
from pathlib import Path

from accelerate import Accelerator

from textvae.data.training_batches import LengthGroupedBatches
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.configuration import TextVAEConfig
from textvae.training import checkpoints
from textvae.training.checks import PARTS
from textvae.training.config import CONFIG_FILE, TrainingConfig
from textvae.training.run import Run


def describe(config: TrainingConfig, model: TextVAEModel, accelerator: Accelerator, batches) -> dict:
    """What a checkpoint must match to be resumed; JSON."""
    return {
        "model": _architecture(model.config),
        "mixed_precision": accelerator.mixed_precision,
        "kl_controller": None if config.kl_target is None else config.kl_controller,
        "own_rates": [part for part in PARTS if getattr(config, f"{part}_learning_rate") is not None],
        "corpus": None if config.streaming else _size(batches),
    }


def resume(run: Run, checkpoint: Path) -> None:
    """Load a checkpoint into a run, whose learning rates stay what they are.

    Raises:
        InputError: if the checkpoint has another model, corpus, controller or set of learning rates.
    """
    saved, about = checkpoints.about(checkpoint), run.about
    _check_controller(checkpoint, saved.get("kl_controller"), about["kl_controller"])
    # Checkpoints from before there were labels have none in their architecture.
    architecture = {"label_names": [], **saved["model"]}
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
    _check_corpus(checkpoint, saved.get("corpus"), about["corpus"])
    learning_rates = list(run.scheduler.base_lrs)
    options = {} if about["model"]["base"] is None else {"strict": False}
    run.accelerator.load_state(str(checkpoint), load_kwargs=None, **options)
    _set_learning_rates(run.scheduler, learning_rates)
    run.progress.seconds += saved.get("seconds", 0.0)  # where older versions kept it


def _architecture(config: TextVAEConfig) -> dict:
    """What two models must share for the weights of one to fit the other; JSON."""
    values = config.to_dict()
    parts = {name: _without_session(values.pop(name)) for name in ("encoder", "decoder")}
    return json.loads(json.dumps(_without_session(values) | parts))  # as a checkpoint gives it back


def _without_session(values: dict) -> dict:
    session = {"transformers_version", "dtype", "_name_or_path", "architectures", "_attn_implementation", "use_cache"}
    return {name: value for name, value in values.items() if name not in session}


def _size(batches: LengthGroupedBatches) -> dict[str, int]:
    """Tells one corpus from another, wherever its file is."""
    return {"texts": len(batches.lengths), "tokens": int(batches.lengths.sum())}


def _check_corpus(checkpoint: Path, saved: dict | None, ours: dict | None) -> None:
    if saved is not None and ours is not None and saved != ours:
        was, now = (f"{size['texts']:,} texts and {size['tokens']:,} tokens" for size in (saved, ours))
        raise InputError(
            f"The checkpoint {checkpoint} is of a corpus of {was}, and this one is of {now}: resume with --config "
            f"{checkpoint.parent / CONFIG_FILE}, which has all its settings, or start anew in another --output_dir."
        )


def _check_controller(checkpoint: Path, saved: str | None, kind: str | None) -> None:
    if kind != saved:
        ours, theirs = ("without kl_target" if name is None else f"with kl_target and {name}" for name in (kind, saved))
        raise InputError(
            f"The checkpoint {checkpoint} was trained {theirs}, and this run is {ours}: "
            "resume with what it was trained with, or start anew in another --output_dir."
        )


def _set_learning_rates(scheduler, learning_rates: list[float]) -> None:
    """Set the learning rates of this run, not those of the checkpoint."""
    scheduler.base_lrs = learning_rates
    groups = scheduler.optimizer.param_groups
    for group, rate, schedule in zip(groups, learning_rates, scheduler.lr_lambdas, strict=True):
        group["initial_lr"] = rate
        group["lr"] = rate * schedule(scheduler.last_epoch)

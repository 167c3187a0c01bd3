"""The directory of a run: whether it may be written to, and the best model so far, which is never lost."""

import shutil
from pathlib import Path

from textvae.data.tokenizer_pair import TokenizerPair, save_tokenizers
from textvae.errors import InputError
from textvae.files import finish_directory, has_directory, restore_directory, unfinished
from textvae.pipeline.fitted import FITTED_FILES
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.training import checkpoints
from textvae.training.claim import unwritable
from textvae.training.config import CONFIG_FILE, TrainingConfig
from textvae.training.history import cut_history

BEST = "best"  # the best model so far, as a pipeline, until the run ends
OF_A_MODEL = (METRICS_FILE, CARD_FILE, "config.json", "generation_config.json", "model*.safetensors*", *FITTED_FILES)


def checkpoint_to_resume(config: TrainingConfig) -> Path | None:
    """The checkpoint to resume from, if any.

    Raises:
        InputError: if there is no such checkpoint, or the directory holds something that a new run would replace.
    """
    output_dir = Path(config.output_dir)
    if config.resume_from_checkpoint is not None:
        return checkpoints.find_checkpoint(config.resume_from_checkpoint, output_dir)
    for name in (config.model_name_or_path, config.encoder_name_or_path, config.decoder_name_or_path):
        if name is not None and Path(name).resolve() == output_dir.resolve():
            raise InputError(f"The run would be written over {name}, which it starts from: give another --output_dir.")
    if not config.overwrite_output_dir:
        _check_free(output_dir)
    return None


def _check_free(output_dir: Path) -> None:
    is_begun = bool(checkpoints.checkpoints_in(output_dir)) or has_directory(output_dir / BEST)
    results = (METRICS_FILE, CARD_FILE) if is_begun else (METRICS_FILE, CARD_FILE, "model.safetensors")
    if any((output_dir / name).exists() for name in results):
        raise InputError(f"{output_dir} holds a finished run: give --overwrite_output_dir or another --output_dir.")
    if is_begun:
        raise InputError(
            f"{output_dir} holds an unfinished run: give --resume_from_checkpoint latest where it has a checkpoint, "
            "--overwrite_output_dir, or another --output_dir."
        )
    if _model_files(output_dir):
        raise InputError(f"{output_dir} holds a model: give --overwrite_output_dir or another --output_dir.")


def _model_files(output_dir: Path) -> list[Path]:
    """Files of a finished run, or of any model of Hugging Face, that a new run would replace."""
    return [path for name in OF_A_MODEL for path in output_dir.glob(name)]


def prepare_output_dir(config: TrainingConfig, tokenizers: TokenizerPair, checkpoint: Path | None) -> None:
    """Write config and tokenizers, and remove what an earlier run left; called when all input is known to be usable."""
    output_dir = Path(config.output_dir)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        config.save(output_dir / CONFIG_FILE)
        if checkpoint is not None:
            restore_directory(output_dir / BEST)
        _remove_leftovers(output_dir, checkpoint)
        save_tokenizers(output_dir, tokenizers)
    except OSError as error:
        raise unwritable(output_dir, error) from error


def _remove_leftovers(output_dir: Path, checkpoint: Path | None) -> None:
    leftovers = [*output_dir.glob(".checkpoint-*"), *output_dir.glob(".best.*")]
    if checkpoint is None:
        for path in _model_files(output_dir):
            path.unlink()  # or the old weights would stand beside the new tokenizer until the run ends
        leftovers += output_dir.glob(BEST)
    start = -1 if checkpoint is None else checkpoints.step_of(checkpoint)
    leftovers += [path for path in checkpoints.checkpoints_in(output_dir) if checkpoints.step_of(path) > start]
    cut_history(output_dir, start)
    for path in leftovers:
        shutil.rmtree(path)


def replace_best(pipeline: TextVAEPipeline, output_dir: Path) -> None:
    """Save the best model so far; a run that is killed here still has this one or the one before."""
    shutil.rmtree(unfinished(output_dir / BEST), ignore_errors=True)
    pipeline.save_pretrained(unfinished(output_dir / BEST))
    finish_directory(output_dir / BEST)

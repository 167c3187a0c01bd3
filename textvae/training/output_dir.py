"""The directory of a run: who may write there, and the best model so far, which is never lost."""

import os
import shutil
from pathlib import Path

from textvae.data.tokenizer_pair import Pair, save_tokenizers
from textvae.errors import InputError
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.training import checkpoints
from textvae.training.config import CONFIG_FILE, TrainingConfig

BEST, OLD_BEST = "best", ".best.old"  # the best model so far, a pipeline of its own until the run is over
OF_A_MODEL = (METRICS_FILE, CARD_FILE, "config.json", "generation_config.json", "model*.safetensors*")


def checkpoint_to_resume(config: TrainingConfig) -> Path | None:
    """The checkpoint to resume from, if any; a directory that is taken is refused unless that is asked for."""
    output_dir = Path(config.output_dir)
    if config.resume_from_checkpoint is not None:
        return checkpoints.find_checkpoint(config.resume_from_checkpoint, output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir} is a file: give another --output_dir.")
    for name in (config.model_name_or_path, config.encoder_name_or_path, config.decoder_name_or_path):
        if name is not None and Path(name).resolve() == output_dir.resolve():
            raise InputError(f"The run would be written over {name}, which it starts from: give another --output_dir.")
    if config.overwrite_output_dir:
        return None
    if any((output_dir / name).exists() for name in (METRICS_FILE, CARD_FILE, "model.safetensors")):
        raise InputError(f"{output_dir} holds a finished run: give --overwrite_output_dir or another --output_dir.")
    if checkpoints.checkpoints_in(output_dir) or any((output_dir / name).exists() for name in (BEST, OLD_BEST)):
        raise InputError(
            f"{output_dir} holds an unfinished run: give --resume_from_checkpoint latest where it has a checkpoint, "
            "--overwrite_output_dir, or another --output_dir."
        )
    if _model_files(output_dir):
        raise InputError(f"{output_dir} holds a model: give --overwrite_output_dir or another --output_dir.")
    return None


def _model_files(output_dir: Path) -> list[Path]:
    """What a finished run leaves, or any model of Hugging Face, and another run there would replace."""
    return [path for name in OF_A_MODEL for path in output_dir.glob(name)]


def claim_output_dir(config: TrainingConfig, tokenizers: Pair, checkpoint: Path | None) -> None:
    """All input has proved usable: only now is anything written, or what an earlier run left removed."""
    output_dir = Path(config.output_dir)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        config.save(output_dir / CONFIG_FILE)
        if checkpoint is not None and (output_dir / OLD_BEST).exists() and not (output_dir / BEST).exists():
            os.replace(output_dir / OLD_BEST, output_dir / BEST)  # the run was killed while a better one moved there
        leftovers = [*output_dir.glob(".checkpoint-*.unfinished"), *output_dir.glob(".best.*")]
        if checkpoint is None:
            for path in _model_files(output_dir):
                path.unlink()  # or the old weights would stand beside the new tokenizer until the run is over
            leftovers += output_dir.glob(BEST)
        start = -1 if checkpoint is None else checkpoints.step_of(checkpoint)
        leftovers += [path for path in checkpoints.checkpoints_in(output_dir) if checkpoints.step_of(path) > start]
        for path in leftovers:
            shutil.rmtree(path)
        save_tokenizers(output_dir, *tokenizers)
    except OSError as error:
        raise InputError(f"{output_dir} cannot be written to ({error.strerror}): give another --output_dir.") from error


def replace_best(pipeline: TextVAEPipeline, output_dir: Path) -> None:
    """Written beside the old one first: a run killed here still has one of the two."""
    unfinished, old, best = (output_dir / name for name in (".best.unfinished", OLD_BEST, BEST))
    shutil.rmtree(unfinished, ignore_errors=True)
    pipeline.save_pretrained(unfinished)
    shutil.rmtree(old, ignore_errors=True)
    if best.exists():
        os.replace(best, old)
    os.replace(unfinished, best)
    shutil.rmtree(old, ignore_errors=True)

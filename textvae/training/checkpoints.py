"""Checkpoints of a run: written completely or not at all, rotated, and verified before they are opened."""

import json
import re
import shutil
from pathlib import Path
from pickle import UnpicklingError

from accelerate import Accelerator
from accelerate.utils import load

from textvae.errors import InputError
from textvae.files import checksum, finish_directory, os_errors, remove_directory, unfinished

MANIFEST = "checkpoint.json"  # written last: the files of the checkpoint and their checksums
NAME = re.compile(r"checkpoint-(\d+)$")


def checkpoints_in(output_dir: str | Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [path for path in Path(output_dir).glob("checkpoint-*") if NAME.search(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    return int(NAME.findall(checkpoint.name)[0])


def save_checkpoint(accelerator: Accelerator, output_dir: str | Path, step: int, about: dict, limit: int) -> Path:
    """Save weights, optimizer, schedule, counters and random states as `checkpoint-STEP`; keep the `limit` newest.

    The checkpoint is written under a temporary name and renamed when it is complete, so a killed run leaves no
    incomplete checkpoint.

    Args:
        about: JSON values, which `about` returns.

    Raises:
        OSError: if it cannot be written; then nothing of it is left.
    """
    final = Path(output_dir) / f"checkpoint-{step}"
    place = unfinished(final)
    if accelerator.is_main_process:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    accelerator.wait_for_everyone()
    try:
        with os_errors(final):
            accelerator.save_state(str(place))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                files = {path.relative_to(place).as_posix(): checksum(path) for path in _files(place)}
                (place / MANIFEST).write_text(json.dumps({"step": step, "about": about, "files": files}, indent=1))
                finish_directory(final)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)  # on a full disk it takes up the last of the space
        raise
    if accelerator.is_main_process:
        for old in checkpoints_in(output_dir)[:-limit]:
            remove_directory(old)
    accelerator.wait_for_everyone()
    return final


def load_checkpoint(accelerator: Accelerator, checkpoint: Path, **options) -> None:
    """Load what `save_checkpoint` saved. Nothing but numbers, texts and tensors is opened, so that no code can run.

    Args:
        options: for the `load_state_dict` of the model.

    Raises:
        InputError: if a file holds anything else.
    """
    try:
        # Accelerate opens some of these files without this care, and ignores random states that it cannot read.
        for path in sorted(checkpoint.glob("*.pkl")):
            load(path, map_location="cpu", weights_only=True)
        accelerator.load_state(str(checkpoint), load_kwargs=None, **options)
    except UnpicklingError as error:
        raise InputError(
            f"The checkpoint {checkpoint} holds more than numbers, and could run code when it is opened: do not use "
            "it, and resume from another, or start anew in another --output_dir."
        ) from error


def find_checkpoint(name: str, output_dir: str | Path) -> Path:
    """The checkpoint at the path `name`, or the newest of `output_dir` for "latest", verified against its manifest.

    Raises:
        InputError: if the checkpoint is missing, incomplete or corrupt (the message names the newest usable one), or
            if it belongs to another run.
    """
    existing = checkpoints_in(output_dir)
    usable = [path for path in existing if _is_whole(path)]
    if name == "latest" and not existing:
        raise InputError(f"{output_dir} holds no checkpoint to resume from: start without resume_from_checkpoint.")
    chosen = existing[-1] if name == "latest" else Path(name)
    if not chosen.is_dir():
        raise InputError(f"There is no checkpoint {chosen}; {_offer(usable)}.")
    if chosen.resolve().parent != Path(output_dir).resolve():
        raise InputError(
            f"The checkpoint {chosen} belongs to another run: give output_dir {chosen.resolve().parent} to resume it."
        )
    if chosen.resolve() not in [path.resolve() for path in usable]:
        raise InputError(f"The checkpoint {chosen} is corrupt or incomplete; {_offer(usable)}.")
    return chosen


def about(checkpoint: Path) -> dict:
    """The `about` values that were given to `save_checkpoint`."""
    return json.loads((checkpoint / MANIFEST).read_text())["about"]


def _offer(usable: list[Path]) -> str:
    return f"resume from {usable[-1]} instead" if usable else "there is no other checkpoint, start the run again"


def _is_whole(checkpoint: Path) -> bool:
    try:
        files = json.loads((checkpoint / MANIFEST).read_text())["files"]
        return all(checksum(checkpoint / name) == wanted for name, wanted in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())

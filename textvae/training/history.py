"""History: what a run logs, a line of JSON for each time, in its directory; `textvae report` draws it."""

import json
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, on_main_process

from textvae.files import write_whole
from textvae.pipeline.hub import HISTORY_FILE


class History(GeneralTracker):
    """A tracker of Accelerate that needs no package and is always on."""

    name = "history"
    requires_logging_directory = False

    def __init__(self, output_dir: str | Path):
        super().__init__()
        self.path = Path(output_dir) / HISTORY_FILE

    @property
    def tracker(self) -> Path:
        return self.path

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Add a line: the step, and the values with six digits."""
        numbers = {name: float(f"{value:.6g}") for name, value in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")


def cut_history(output_dir: Path, step: int) -> None:
    """Drop what was logged after this step, and a line that a kill has cut."""
    path = output_dir / HISTORY_FILE
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if _step_of(line) <= step]
    if kept:
        write_whole(path, "".join(kept))
    else:
        path.unlink()


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")

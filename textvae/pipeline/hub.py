"""Uploading a pipeline to the Hub, with what is known of its run."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi

_OPENED = re.compile(r'(TextVAEPipeline\.from_pretrained\()"[^"\n]*"\)')  # in a card
CARD_FILE, METRICS_FILE, HISTORY_FILE = "README.md", "metrics.json", "history.jsonl"  # of a run, beside its model


def push(
    save: Callable[[str], None], run: str | None, repo_id: str, private: bool | None = None, token: str | None = None
) -> None:
    """Upload what `save` writes to a directory, and the model card and the metrics of a run if it has them.

    Args:
        run: the directory of the run that the pipeline was opened from, if it was opened from one.
        private: whether a new repository is private; if not given, the default of the account.
        token: if not given, that of `hf auth login` or of HF_TOKEN.
    """
    hub = HfApi(token=token)
    repo_id = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id  # with the user's name in front
    with TemporaryDirectory() as folder:
        save(folder)
        for name in (CARD_FILE, METRICS_FILE):
            if run and Path(run, name).is_file():
                content = Path(run, name).read_text(encoding="utf-8")
                content = _OPENED.sub(rf'\g<1>"{repo_id}")', content, count=1)
                Path(folder, name).write_text(content, encoding="utf-8")
        hub.upload_folder(repo_id=repo_id, folder_path=folder)

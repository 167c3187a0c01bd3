"""The test texts of a sweep, and what a run reaches on them."""

import json
from dataclasses import dataclass

from datasets import Dataset

from textvae.data.corpora import load_texts
from textvae.data.corpus_files import Files, content_digest, find_files, listed
from textvae.errors import InputError
from textvae.processes import main_first
from textvae.sweeps.file import SweepRun

TEST = "test.json"


@dataclass
class TestSet:
    """The test texts, and the settings that a `test.json` must name to count as measured."""

    texts: Dataset
    settings: dict


def read_test_set(files: Files, columns: dict[str, str], evaluation: dict) -> TestSet:
    """Read the test files.

    Raises:
        InputError: if they cannot be read, or hold fewer than two texts.
    """
    texts = main_first(lambda: load_texts(files, **columns))
    if len(texts) < 2:
        raise InputError(f"{listed(files)} holds {len(texts)} text and 2 are needed: give another --test_file.")
    columns = dict(columns)
    settings = {
        "sha256": content_digest(find_files(files)),
        "text_column": columns.pop("text_column"),
        "evaluation": evaluation,
    }
    return TestSet(texts, settings | columns)


def columns_to_test(runs: list[SweepRun]) -> dict[str, str]:
    """The columns of the test file that the runs need; a run without labels ignores the label column."""
    first = runs[0].config
    labels = [one.config.label_column for one in runs if one.config.label_column is not None]
    columns = {"text_column": first.text_column, "target_column": first.target_column}
    columns["label_column"] = labels[0] if labels else None
    return {name: column for name, column in columns.items() if column is not None}


def measured(one: SweepRun, test: TestSet) -> dict | None:
    """The results of a run on the test texts, if it was measured with the present settings."""
    path = one.directory / TEST
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"settings": None}
    return content["results"] if content["settings"] == test.settings else None

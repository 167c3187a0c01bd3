"""The command `textvae` as it is typed, in this process, and models that are made in no time."""

import io
import sys
from typing import NamedTuple

import pytest
from tiny_pipelines import LABELS, build

from textvae import TextVAEPipeline
from textvae.cli.main import main


class Done(NamedTuple):
    """What a command has printed, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.out.removesuffix("\n").split("\n")


@pytest.fixture
def textvae(monkeypatch, capsys):
    """The words of a command and its standard input → what came of it."""

    def call(*words, stdin: bytes | str = b"", kind: type = io.TextIOWrapper) -> Done:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", kind(io.BufferedReader(io.BytesIO(given))))
        code = 0
        try:
            main(list(map(str, words)))
        except SystemExit as end:
            code = end.code
        return Done(*capsys.readouterr(), code)

    return call


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """`gru`, `llama` and `labels` → the directory of such a model."""
    place = tmp_path_factory.mktemp("models")
    for name, labels in (("gru", ()), ("llama", ()), ("labels", LABELS)):
        build("gru" if name == "labels" else name, labels).save_pretrained(place / name)
    return {path.name: path for path in place.iterdir()}


@pytest.fixture(scope="session")
def opened(models):
    """The same names → the pipeline of such a model."""
    return {name: TextVAEPipeline.from_pretrained(path, device="cpu") for name, path in models.items()}

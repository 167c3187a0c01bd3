"""Help: it is there at once, and its examples work. The command in a shell: it streams, and ends with its reader."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from tiny_runs import SENTENCES, settings, write_lines

from textvae import __version__ as textvae_version
from textvae.cli.main import COMMANDS, make_parser

pytestmark = pytest.mark.slow

SHORT = ["--max_steps", "2", "--num_prior_samples", "2"]


def examples(name: str) -> list[str]:
    """The lines of a command's help that are commands."""
    return [line.strip() for line in COMMANDS[name].__doc__.splitlines() if re.match(r" +(textvae|cat) ", line)]


@pytest.fixture(scope="module")
def place(models, tmp_path_factory):
    """A directory with what the examples name."""
    place = tmp_path_factory.mktemp("examples")
    (place / "runs").mkdir()
    for name in ("chitchat", "adapted", "denoise"):
        shutil.copytree(models["gru"], place / "runs" / name)  # fit_prior adds to it
    write_lines(place / "mine.txt", SENTENCES[:60])
    write_lines(place / "usual.txt", SENTENCES)
    write_lines(place / "praise.txt", [text for text in SENTENCES if "like" in text])
    write_lines(place / "complaints.txt", [text for text in SENTENCES if "never" in text])
    base = settings(place / "mine.txt", place / "runs" / "sweep")
    values = {"output_dir": base.pop("output_dir"), "base": base, "runs": {"one": {}, "two": {"beta": 0.5}}}
    (place / "sweep.yaml").write_text(yaml.safe_dump(values))
    return place


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "decode"])
def test_the_example_of_each_help_works(textvae, place, monkeypatch, name):
    monkeypatch.chdir(place)
    (example,) = examples(name)
    first, _, rest = example.partition(" | ")
    command, given = (rest.partition(" | ")[0], (place / shlex.split(first)[1]).read_bytes()) if rest else (first, b"")
    words = shlex.split(command)[1:]
    if name in ("train", "benchmark"):
        words += ["--config", write_settings(place), *SHORT]
    done = textvae(*words, stdin=given)
    assert done.code == 0, done.err
    if name == "encode":
        (decode,) = examples("decode")
        assert len(textvae(*shlex.split(decode)[1:]).lines) == 60


def write_settings(place):
    small = settings(place / "mine.txt", place)
    (place / "small.yaml").write_text(yaml.safe_dump(small))
    return place / "small.yaml"


def test_every_help_begins_with_what_the_command_does(textvae):
    done = textvae("--help")
    assert done.code == 0
    for name, command in COMMANDS.items():
        sentence = command.__doc__.split("\n")[0]
        assert name in done.out and sentence.rstrip(".").split()[-1] in done.out
        own = textvae(name, "--help")
        assert own.code == 0 and sentence in own.out and all(example in own.out for example in examples(name))


def test_it_says_its_version(textvae):
    assert textvae("--version") == (f"textvae {textvae_version}\n", "", 0)


def test_a_parser_of_everything_can_be_made():
    _, commands = make_parser()
    assert all("MODEL" in own.format_help() or "--" in own.format_help() for own in commands.values())


def test_help_needs_no_torch():
    code = "import sys, textvae.cli.main as cli\ntry: cli.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "paraphrase" in done.stdout


def test_an_endless_input_is_read_as_long_as_its_results_are(models):
    command = f"yes 'we like pizza' | {sys.executable} -m textvae reconstruct {models['gru']} | head -n 3"
    done = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[1]}}"], capture_output=True, text=True)
    assert done.returncode == 141 and done.stderr == "" and len(done.stdout.splitlines()) == 3

"""The READMEs hold: their commands parse, their Python runs, their links lead somewhere."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import launch_command_parser
from tiny_runs import BERT, GRU, SENTENCES, settings
from torch.distributed.run import get_args_parser

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline, TrainingConfig, train
from textvae.cli.arguments import Parser, training_config
from textvae.cli.main import COMMANDS as SUB_COMMANDS
from textvae.cli.main import make_parser
from textvae.data import train_word_tokenizer
from textvae.sweeps import read_sweep

ROOT = Path(__file__).parents[1]
READMES = {path: (ROOT / path).read_text(encoding="utf-8") for path in ("README.md", "recipes/README.md")}
# Where commands stand too: docstrings of the folders, headers of the configs.
OTHERS = [*(ROOT / "textvae").glob("*/__init__.py"), *(ROOT / "recipes" / "configs").glob("*.yaml")]
LAUNCHERS = ("accelerate launch", "torchrun", "python", "textvae")
RUN = re.compile(rf"recipes/\w+\.py|(?:^| )textvae (?:{'|'.join(SUB_COMMANDS)}) \S")
MENTIONED = {"--cpu"}  # of accelerate launch, in a sentence


def commands(text: str) -> list[str]:
    """Every command that runs a recipe or `textvae`: on a line of its own, behind a pipe, or as inline code."""
    text = re.sub(r"\\+\n[# ]*", "", text)
    found = []
    for line in text.splitlines():
        on_its_own = [part.strip() for part in re.split(r"&&|\|", line.lstrip("# "))]
        for part in on_its_own + re.findall(r"`([^`]+)`", line):
            if part.startswith(LAUNCHERS) and RUN.search(part):
                found.append(part)
    return found


COMMANDS = {name: commands(text) for name, text in READMES.items()}
COMMANDS["others"] = [command for path in OTHERS for command in commands(path.read_text(encoding="utf-8"))]


def flags(text: str) -> set[str]:
    """Flags that a text names outside of commands, in inline code that starts with one."""
    return {flag for code in re.findall(r"`(--[^`]+)`", text) for flag in re.findall(r"(?:^|\s)(--\w+)", code)}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class Parsed(BaseException):
    """A recipe has parsed its flags; nothing in the package catches it."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the recipes and the settings of a run, and with no other runs."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    TrainingConfig().save(tmp_path / "runs" / "mine" / "training_config.yaml")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stop_when_parsed(monkeypatch):
    """Recipes raise `Parsed` with their parser and what it found, instead of doing their work."""
    for kind in (argparse.ArgumentParser, Parser):
        monkeypatch.setattr(kind, "parse_args", stopping(kind.parse_args))


def stopping(parse_args):
    def parse_and_stop(self, *args, **kwargs):
        self.allow_abbrev = False  # a README writes flags out, and a part of one is a slip
        raise Parsed(self, vars(parse_args(self, *args, **kwargs)))

    return parse_and_stop


def script_of(command: str) -> tuple[str, list[str]]:
    """The recipe of a command and its arguments, those of the launcher parsed by the launcher."""
    words = shlex.split(command, comments=True)
    if words[0] == "textvae":
        return words[0], words[1:]
    if words[0] == "python":
        return words[1], words[2:]
    parser, words = (get_args_parser(), words[1:]) if words[0] == "torchrun" else (launch_command_parser(), words[2:])
    parser.allow_abbrev = False
    launched = parser.parse_args(words)
    return launched.training_script, launched.training_script_args


def parse(recipe: str, arguments: list[str]) -> tuple[argparse.ArgumentParser, dict]:
    """What the recipe's own parser makes of the arguments."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed) as parsed:
        if recipe == "textvae":
            name, *rest = arguments
            make_parser([name])[1][name].parse_args(rest)
        patch.setattr(sys, "argv", [recipe, *arguments])
        runpy.run_path(recipe, run_name="__main__")
    return parsed.value.args


@pytest.mark.parametrize("source", COMMANDS)
def test_every_command_parses_and_every_config_loads(source, here, request):
    assert len(COMMANDS[source]) > 5
    scripts = [script_of(command) for command in COMMANDS[source]]
    request.getfixturevalue("stop_when_parsed")
    for command, (recipe, arguments) in zip(COMMANDS[source], scripts, strict=True):
        print(command)  # shown with a failure
        if arguments[-1:] == ["--help"]:
            assert Path(recipe).is_file() or arguments[0] in SUB_COMMANDS
            continue
        _, values = parse(recipe, arguments)
        if "sweep" in values:
            values.pop("work", None)
            own = {name: values.pop(name) for name in ("sweep", "test_file", "only", "list", "table")}
            assert read_sweep(own["sweep"], values).select(own["only"])
        elif "config" in values:
            training_config(argparse.Namespace(**values))


def test_every_flag_in_a_sentence_is_one_of_a_recipe(here, stop_when_parsed):
    needed = {
        "evaluate": ["m", "--file", "f"],
        "evaluate_paraphrase": ["m", "--file", "f"],
        "evaluate_detector": ["m", *(f"--{name}=f" for name in ("normal", "held_out", "test", "unusual"))],
        "evaluate_walks": ["m", "--file", "f"],
        "evaluate_denoise": ["m", "--file", "f", "--train_file", "f"],
        "evaluate_edit": ["m", "--file", "f", "--train_file", "f", "--classifier_file", "f"],
        "evaluate_molecules": ["m", "--test_file", "f"],
        "evaluate_property": ["m", "--file", "f", "--train_file", "f"],
        "draw_molecules": ["o"],
        "evaluate_infill": ["m", "--file", "f"],
        "evaluate_samples": ["m", "--train_file", "f", "--file", "f"],
        "interpolate": ["m", "a", "b"],
        "evaluate_latents": ["m", "--train_file", "f", "--test_file", "f"],
        "lengths": ["m", "--file", "f"],
        "merge": ["m", "o"],
        "moses": ["d"],
        "packaged_weights": ["d"],
        "paraphrase": ["m"],
        "sweep": ["s"],
    }
    known = set(MENTIONED)
    for path in (ROOT / "recipes").glob("*.py"):
        parser, _ = parse(f"recipes/{path.name}", needed.get(path.stem, []))
        known |= set(parser.format_help().replace("[", " ").replace(",", " ").split())
    for text in [*READMES.values(), *(path.read_text(encoding="utf-8") for path in OTHERS)]:
        assert flags(text) <= known


def test_every_config_that_is_named_is_there():
    for text in READMES.values():
        for name in set(re.findall(r"(?:recipes/)?configs/([\w-]+\.yaml)", text)):
            assert (ROOT / "recipes" / "configs" / name).is_file(), name


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Paths of README.md → directories of tiny models: a trained one, and one with labels."""
    place = tmp_path_factory.mktemp("runs")
    train(tiny_config(output_dir=str(place / "chitchat")), SENTENCES)
    tokenizer = train_word_tokenizer(SENTENCES)
    parts = {"encoder": {**BERT, "vocab_size": len(tokenizer)}, "decoder": {**GRU, "vocab_size": len(tokenizer)}}
    torch.manual_seed(0)
    labelled = TextVAEModel(TextVAEConfig(**parts, latent_size=6, label_names=["negative", "positive"]))
    TextVAEPipeline(labelled, tokenizer, max_length=20).save_pretrained(place / "reviews")
    return {f"runs/{name}": str(place / name) for name in ("chitchat", "reviews", "mine")}


def tiny_config(**changes) -> TrainingConfig:
    return TrainingConfig(**{**settings(Path(), Path(), max_steps=2), "train_file": None, **changes})


def run(block: str, tiny: dict[str, str], **names) -> tuple[dict, list]:
    """The names that a block leaves, and what it prints."""
    for path, directory in tiny.items():
        block = block.replace(path, directory)
    printed = []
    names |= {"print": printed.append, "tiny_config": tiny_config}
    exec(compile(block.replace("TrainingConfig(", "tiny_config("), "README.md", "exec"), names)
    return names, printed


def are_texts(values, number: int) -> bool:
    return isinstance(values, list) and len(values) == number and all(isinstance(text, str) for text in values)


def check_verbs(names: dict, printed: list) -> None:
    assert names["codes"].shape == (2, 6) and names["codes"].dtype == torch.float32
    decoded, reconstructed, way, paraphrases, samples, scores = printed
    assert are_texts(decoded, 2) and isinstance(reconstructed, str) and are_texts(way, 5) and are_texts(samples, 3)
    assert len(paraphrases) <= 3 and are_texts(paraphrases, len(paraphrases))
    assert len(scores) == 2 and all(isinstance(score, float) and score > 0 for score in scores)


def check_training(names: dict, printed: list) -> None:
    assert isinstance(names["vae"], TextVAEPipeline) and names["vae"].encode("we like pizza .").shape == (6,)


def check_labels(names: dict, printed: list) -> None:
    assert names["vae"].model.config.label_names == ["negative", "positive"]
    assert are_texts(names["written"], len(names["texts"]))


CHECKS = {"vae.score(": check_verbs, "train(": check_training, 'label="': check_labels}


def test_every_python_block_of_the_readme_runs(tiny):
    found = blocks(READMES["README.md"], "python")
    assert len(found) == len(CHECKS)
    names = {}
    for block, (mark, check) in zip(found, CHECKS.items(), strict=True):
        assert mark in block
        names, printed = run(block, tiny, **{**names, "texts": SENTENCES[:60]})
        check(names, printed)


def test_every_python_block_of_the_lab_book_compiles():
    for number, block in enumerate(blocks(READMES["recipes/README.md"], "python")):
        compile(block, f"recipes/README.md, block {number}", "exec")


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_somewhere(readme):
    links = re.findall(r"\]\(([^)\s]+)\)", READMES[readme])
    assert links
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / readme).parent / path if path else ROOT / readme
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_readme_is_read_in_five_minutes():
    assert len(READMES["README.md"].encode()) <= 14_000


def test_the_two_commands_stand_in_the_readme():
    first, second = blocks(READMES["README.md"], "bash")[0].splitlines()
    assert first == "pip install -e '.[recipes]' && accelerate launch recipes/train.py"
    assert second == "pip install -e '.[test]' && pytest"


def test_a_command_is_found_wherever_it_stands():
    text = "```bash\npip install x && accelerate launch recipes/train.py\n```\nor `python recipes/a.py b`\n" + (
        "#   accelerate launch recipes/train.py \\\n#       --config c.yaml\ncat x | textvae score m | sort\n"
    )
    assert commands(text) == [
        "accelerate launch recipes/train.py",
        "python recipes/a.py b",
        "accelerate launch recipes/train.py --config c.yaml",
        "textvae score m",
    ]


def test_a_misspelt_flag_is_found(here, stop_when_parsed, capsys):
    with pytest.raises(SystemExit):
        parse("recipes/paraphrase.py", ["runs/chitchat", "--num_return_sequence", "2"])
    with pytest.raises(SystemExit):
        parse("recipes/train.py", ["--learning_rte", "1"])
    with pytest.raises(InputError):
        parse("textvae", ["score", "m", "--num_sampels", "2"])
    assert "'--learning_rate'" in capsys.readouterr().err

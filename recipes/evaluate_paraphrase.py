"""Measure paraphrases of a model beside copies, random texts and what people wrote. Prints a table.

Sources and references are columns of a table, or files of which line i belongs to line i of the others:

python recipes/evaluate_paraphrase.py runs/mine --file pairs.tsv --text_column source --reference_column one two
python recipes/evaluate_paraphrase.py runs/mine --file source.txt --reference_file one.txt two.txt \
    --judge weights/smollm2 --judge_encoder weights/minilm --output scores.json

With several models each has a row. The first, best paraphrase of each text is measured. Where a model finds none, the
text itself stands for it.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.cli.runs import check_results
from textvae.cli.verbs import Using
from textvae.cli.write import Paraphrasing
from textvae.config_fields import COUNT, check_settings, same_setting, setting
from textvae.data.aligned import Column, load_aligned
from textvae.errors import InputError
from textvae.evaluation.judges import open_judges
from textvae.evaluation.paraphrases import ParaphraseMeasures, paraphrase_table
from textvae.files import write_whole
from textvae.processes import best_device, say


@dataclass
class Settings:
    num_candidates: int = setting(20, "candidates for each text in a round", COUNT)
    temperature: float = same_setting(Paraphrasing, "temperature")
    min_distance: int = same_setting(Paraphrasing, "min_distance")
    reranker: str | None = same_setting(Paraphrasing, "reranker")
    label: str | None = same_setting(Using, "label")
    seed: int = same_setting(Using, "seed")
    batch_size: int = same_setting(Using, "batch_size")

    def __post_init__(self):
        check_settings(self)


@dataclass
class JudgeSettings:
    judge: str | None = setting(None, "a causal language model, by path or Hub name, that judges fluency")
    judge_encoder: str | None = setting(None, "a sentence encoder, by path or Hub name, that compares with the source")

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("models", nargs="+", help="directories that train.py wrote")
    parser.add_argument("--file", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text", help="column of the sources (default: text)")
    parser.add_argument("--reference_column", nargs="+", default=[], help="columns of the same file with references")
    parser.add_argument("--reference_file", nargs="+", default=[], help="files with as many references as --file")
    add_flags(parser, Settings)
    add_flags(parser, JudgeSettings)
    parser.add_argument("--output", help="write the measures to this JSON file")
    arguments = parser.parse_args()
    if arguments.output:
        check_results(Path(arguments.output))
    settings, judges = settings_of(Settings, arguments), settings_of(JudgeSettings, arguments)
    sources, *references = load_aligned(columns_of(arguments))
    measures = ParaphraseMeasures(
        sources, references, open_judges(judges.judge, judges.judge_encoder, torch.device(best_device()))
    )
    rows = measures.baselines()
    for model in arguments.models:
        rows[model] = measures.of(first_paraphrases(model, sources, settings))
    if arguments.output:
        write_whole(Path(arguments.output), json.dumps(rows, indent=1))
    say(paraphrase_table(rows))
    say(f"\n{len(sources)} texts, {len(references)} references of each")


def columns_of(arguments: argparse.Namespace) -> list[Column]:
    """The column of the sources, and those of the references."""
    names = [Column(arguments.file, name, "reference") for name in arguments.reference_column]
    files = [Column(name) for name in arguments.reference_file]
    if not names + files:
        raise InputError("There are no references: name columns by --reference_column, or files by --reference_file.")
    return [Column(arguments.file, arguments.text_column), *names, *files]


def first_paraphrases(model: str, sources: list[str], settings: Settings) -> list[str]:
    found = cast("list[list[str]]", TextVAEPipeline.from_pretrained(model).paraphrase(sources, 1, **asdict(settings)))
    return [texts[0] if texts else source for texts, source in zip(found, sources, strict=True)]


if __name__ == "__main__":
    run(main)

"""Measure how well gaps are filled: one to three words are deleted from held-out texts. Prints a table.

python recipes/evaluate_infill.py runs/chitchat --file chitchat.valid.txt --train_file chitchat.train.txt \\
    --judge weights/smollm2 --output infill.csv

Of half of the texts a run of words is deleted, of the others single words at random places. Beside the models stand a
trigram model of --train_file, which reads both sides of a gap, and with --judge this language model, given what stands
before a gap. Both are told the number of missing words, and a text VAE is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.cli.rows import Rows, add_rows
from textvae.config_fields import COUNT, SEED, check_settings, same_setting, setting
from textvae.data.corpora import load_texts
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.infilling import (
    MOST_DELETED,
    Gapped,
    LeftToRight,
    TrigramFiller,
    delete_words,
    measure_infilling,
)
from textvae.evaluation.judges import Judges, open_judges
from textvae.evaluation.trigrams import Trigrams


@dataclass
class Settings:
    num_texts: int = setting(300, "texts of --file from which words are deleted", COUNT)
    num_candidates: int = setting(5, "ways to fill a text", COUNT)
    max_gap_tokens: int = setting(8, "the most tokens in a gap", COUNT)
    num_rounds: int = setting(2, "how often gaps are filled", COUNT)
    num_latents: int = setting(2, "best texts whose z are taken in a further round", COUNT)
    num_beams: int = setting(8, "beams for each z", COUNT)
    label: str | None = setting(None, "label of all texts, for a model with labels")
    judge: str | None = same_setting(EvaluationConfig, "judge")
    seed: int = setting(0, "random seed of what is deleted", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("models", nargs="+", help="directories that train.py wrote")
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--train_file", nargs="+", action="extend", help="texts for the trigram model")
    add_flags(parser, Settings)
    add_rows(parser)
    arguments = parser.parse_args()
    settings = settings_of(Settings, arguments)
    rows = Rows(arguments.output, {"bleu": 1, "fluency": 2})

    vaes = [(Path(model).name, TextVAEPipeline.from_pretrained(model)) for model in arguments.models]
    judges = open_judges(settings.judge, None, torch.device("cpu"))
    gapped = delete_words(load_texts(arguments.file)["text"][:], settings.num_texts, settings.seed)
    gapped = [one for one in gapped if all(has_room(vae, one.text) for _, vae in vaes)]
    if not gapped:
        raise InputError("The models cannot write texts as long as those of --file: give shorter ones.")
    train = load_texts(arguments.train_file)["text"][:] if arguments.train_file else None
    for name, written in ways(vaes, train, judges, gapped, settings):
        rows.add({"filled by": name, **measure_infilling(written, gapped, judges)})


def has_room(vae: TextVAEPipeline, text: str) -> bool:
    """Whether the model can write the text with a token more for each word that may be missing."""
    return len(vae.tokenizer(text)["input_ids"]) + MOST_DELETED < vae.max_length


def ways(
    vaes: list[tuple[str, TextVAEPipeline]],
    train: list[str] | None,
    judges: Judges,
    gapped: list[Gapped],
    settings: Settings,
) -> Iterator[tuple[str, list[list[str]]]]:
    """The name of each way to fill gaps, and what it writes for each text."""
    number = settings.num_candidates
    yield "what was deleted", [[one.text] for one in gapped]
    if train is not None:
        filler = TrigramFiller(Trigrams(train))
        yield "trigrams", [filler.fill(one, number) for one in gapped]
    if judges.language_model is not None:
        left = LeftToRight(judges.language_model)
        yield "left to right", [left.fill(one, number) for one in gapped]
    for name, vae in vaes:
        written = vae.infill(
            [one.template for one in gapped],
            number,
            max_gap_tokens=settings.max_gap_tokens,
            num_rounds=settings.num_rounds,
            num_latents=settings.num_latents,
            num_beams=settings.num_beams,
            label=settings.label,
        )
        yield name, written  # pyright: ignore[reportReturnType]


if __name__ == "__main__":
    run(main)

"""Measure walks between texts along straight and along spherical paths, beside a walk over sentences of the file.

python recipes/evaluate_walks.py runs/chitchat --file chitchat.valid.txt --judge_encoder weights/minilm \\
    --judge weights/smollm2 --output walks.csv

Pairs are drawn from --file; with labels, both texts of a pair have the same. The last row needs no model: it takes the
other sentences of --file that are nearest, in the space of --judge_encoder, to the straight line between both ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from datasets import Dataset

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.cli.rows import Rows, add_rows
from textvae.config_fields import COUNT, SEED, Range, check_settings, same_setting, setting
from textvae.data.corpora import load_texts
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.judges import SentenceEncoder, open_judges
from textvae.evaluation.likelihood import preceding_of_label
from textvae.evaluation.quality import fluency
from textvae.evaluation.walks import measure_walks
from textvae.latents import interpolate


@dataclass
class Settings:
    num_pairs: int = setting(200, "pairs of texts of --file", COUNT)
    num_steps: int = setting(7, "texts of a walk, both ends included", Range("at least 2", lambda value: value >= 2))
    num_candidates: int = setting(1, "texts written for each z; the one that is read back nearest is kept", COUNT)
    judge: str | None = same_setting(EvaluationConfig, "judge")
    judge_encoder: str | None = setting(None, "a sentence encoder, by path or Hub name, for distances; needed")
    seed: int = setting(0, "random seed of the pairs", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("model", help="a directory that train.py wrote")
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--label_column", help="column of the labels, for a model with labels")
    add_flags(parser, Settings)
    add_rows(parser)
    arguments = parser.parse_args()
    settings = settings_of(Settings, arguments)
    rows = Rows(arguments.output, {"fluency": 2})
    if settings.judge_encoder is None:
        raise InputError("Walks are measured in the space of a sentence encoder: give --judge_encoder.")
    judges = open_judges(settings.judge, settings.judge_encoder, torch.device("cpu"))
    assert judges.encoder is not None
    texts = load_texts(arguments.file, arguments.text_column, None, arguments.label_column)
    pairs = pairs_of(texts.shuffle(settings.seed, keep_in_memory=True), settings.num_pairs)
    vae = TextVAEPipeline.from_pretrained(arguments.model)
    for name, walks in ways(vae, pairs, texts["text"][:], judges.encoder, settings):
        row = {"walk": name, **measure_walks(walks, pairs["start"], pairs["end"], judges.encoder)}
        if judges.language_model is not None:
            row |= fluency(judges.language_model, "fluency", [text for walk in walks for text in walk])
        rows.add(row)


def pairs_of(texts: Dataset, number: int) -> dict[str, list[str]]:
    """Texts at the `start` and at the `end` of so many walks, and their `label` if there are any."""
    some = texts.select(range(min(number, len(texts))))
    labels = some["label"][:] if "label" in some.column_names else [""] * len(some)
    ids = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    before = preceding_of_label(torch.tensor([ids[label] for label in labels])).tolist()
    ends = some["text"][:]
    return {"start": [ends[i] for i in before], "end": ends, "label": labels}


def ways(
    vae: TextVAEPipeline, pairs: dict[str, list[str]], texts: list[str], encoder: SentenceEncoder, settings: Settings
) -> Iterator[tuple[str, list[list[str]]]]:
    """The name and the walks of each way."""
    label = pairs["label"] if vae.model.config.label_names else None
    for path in ("linear", "spherical"):
        options = {"num_steps": settings.num_steps, "path": path, "num_candidates": settings.num_candidates}
        yield path, vae.interpolate(pairs["start"], pairs["end"], label=label, **options)  # pyright: ignore
    yield "sentences of the file", nearest_sentences(pairs, texts, encoder, settings.num_steps)


def nearest_sentences(
    pairs: dict[str, list[str]], texts: list[str], encoder: SentenceEncoder, num_steps: int
) -> list[list[str]]:
    """Both ends and, for each point between their embeddings, the other sentence with the largest cosine."""
    points = interpolate(encoder.embed(pairs["start"]), encoder.embed(pairs["end"]), num_steps)  # (N, num_steps, H)
    near = points[:, 1:-1] @ encoder.embed(texts).T
    walks = []
    for start, end, cosines in zip(pairs["start"], pairs["end"], near, strict=True):
        is_end = torch.tensor([text in (start, end) for text in texts])
        best = cosines.masked_fill(is_end, -torch.inf).argmax(-1).tolist()
        walks.append([start, *(texts[i] for i in best), end])
    return walks


if __name__ == "__main__":
    run(main)

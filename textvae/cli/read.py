"""Sub-commands that read texts: encode, score."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from textvae.cli.arguments import Parser, add_flags, settings_of
from textvae.cli.outputs import Layout, Result, add_output, check_output, scored, scored_layout
from textvae.cli.texts import Row, add_texts, read_texts
from textvae.cli.vectors import NAME, STD, WITH_STD
from textvae.cli.verbs import Using, add_model, add_using, for_each_text, open_model, options_of, skip_noise, stream
from textvae.config_fields import COUNT, check_settings, setting
from textvae.errors import InputError

if TYPE_CHECKING:
    from textvae.pipeline.pipeline import TextVAEPipeline


@dataclass
class Encoding:
    sample: bool = setting(False, "a draw of q(z|x) for each text, in place of its mean")
    return_std: bool = setting(False, "the standard deviations of q(z|x), too: in .parquet, .jsonl or .tsv")

    def __post_init__(self):
        check_settings(self)


@dataclass
class Scoring:
    num_samples: int = setting(100, "draws of z for each text; more give a tighter bound", COUNT)

    def __post_init__(self):
        check_settings(self)


def encode(parser: Parser):
    """Give the vector z of each text.

    textvae encode runs/chitchat --file mine.txt --output codes.npy

    An --output that ends in .npy, .safetensors (a tensor `latents`) or .parquet (columns `text` and `latents`) holds
    float32 vectors. Lines of text are numbers between tabs, which `textvae decode` reads.
    """
    add_model(parser)
    add_texts(parser)
    add_flags(parser, Encoding)
    add_using(parser)
    add_output(parser)
    return _encode


def _encode(arguments: argparse.Namespace) -> None:
    using, encoding = settings_of(Using, arguments), settings_of(Encoding, arguments)
    layout = Layout(lambda result: "\t".join(f"{value:.9g}" for value in result[NAME]), [])  # all of float32
    output = check_output(arguments, layout, has_vectors=True)
    if encoding.return_std and output.form not in WITH_STD:
        raise InputError("--return_std gives two vectors of each text: add --format jsonl, or a .parquet as --output.")
    texts = read_texts(arguments)
    vae = open_model(arguments, using)
    size = vae.model.config.latent_size
    kinds = ("z", "std") if encoding.return_std else ("z",)
    layout.columns.extend(["text", *(f"{kind}_{number}" for kind in kinds for number in range(1, size + 1))])
    if encoding.sample:
        skip_noise(output, size)

    def verb(rows: list[Row]) -> list[Result]:
        given = [row.text for row in rows]
        vectors = vae.encode(given, encoding.sample, return_std=True, **options_of(using, rows))
        names = (NAME, STD) if encoding.return_std else (NAME,)
        columns = [given, *(vector.tolist() for vector in vectors[: len(names)])]
        return [dict(zip(("text", *names), row, strict=True)) for row in zip(*columns, strict=True)]

    stream(texts, output, layout, using.batch_size, verb)


def score(parser: Parser):
    """Score texts: an upper bound on −log p(x) in nats; the lower, the more usual.

    cat mine.txt | textvae score runs/chitchat | sort -g | tail

    A line is the score with four decimals, a tab, and the text. A longer text has a higher score.
    """
    add_model(parser)
    add_texts(parser)
    add_flags(parser, Scoring)
    add_using(parser)
    add_output(parser)
    return _score


def _score(arguments: argparse.Namespace) -> None:
    using, scoring = settings_of(Using, arguments), settings_of(Scoring, arguments)

    def verb(vae: "TextVAEPipeline", texts: list[str], options: dict[str, Any]) -> list[Result]:
        scores = vae.score(texts, scoring.num_samples, using.seed, **options)
        return list(map(scored, texts, cast("list[float]", scores)))

    for_each_text(arguments, scored_layout(), verb)

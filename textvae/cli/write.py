"""Sub-commands that write texts: decode, reconstruct, sample, interpolate, traverse, paraphrase, infill, denoise."""

import argparse
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from textvae.cli.arguments import Parser, add_flags, settings_of
from textvae.cli.outputs import Layout, Result, add_output, check_output, one_line, scored, scored_layout
from textvae.cli.texts import Pair, Row, add_pairs, add_texts, read_pairs, read_texts
from textvae.cli.vectors import read_vectors
from textvae.cli.verbs import (
    Using,
    add_model,
    add_using,
    decoding_of,
    for_each_text,
    open_model,
    options_of,
    refuse_drawn_words,
    skip_noise,
    stream,
)
from textvae.config_fields import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Range, check_settings, setting

if TYPE_CHECKING:
    from textvae.pipeline.pipeline import TextVAEPipeline


@dataclass
class Sampling:
    num_samples: int = setting(10, "number of texts", COUNT)
    temperature: float = setting(1.0, "of z; a lower one gives more usual texts", NOT_NEGATIVE)
    prior: str | None = setting(
        None, "gaussian, mixture or flow, if it was fitted, or standard for N(0, I); none is gaussian if it is there"
    )

    def __post_init__(self):
        check_settings(self)


@dataclass
class Walking:
    num_steps: int = setting(
        7, "number of sentences, both ends included", Range("at least 2", lambda value: value >= 2)
    )
    path: Literal["linear", "spherical"] = setting("linear", "the path from one z to the other")
    dedupe: bool = setting(False, "leave out each text that is the same as the one before it")

    def __post_init__(self):
        check_settings(self)


@dataclass
class Traversing:
    dimension: int = setting(0, "number of the axis along which z is moved, from 0", NOT_NEGATIVE)
    num_steps: int = setting(7, "number of texts", Range("at least 2", lambda value: value >= 2))
    reach: float = setting(3.0, "z is moved by so much to both sides; along principal axes in std", POSITIVE)
    axes: Literal["dimensions", "principal"] = setting("dimensions", "principal: those of the fitted prior")

    def __post_init__(self):
        check_settings(self)


@dataclass
class DecodingVectors:
    return_scores: bool = setting(False, "log p(x|z) in nats of each text that is written")

    def __post_init__(self):
        check_settings(self)


@dataclass
class Paraphrasing:
    num_return_sequences: int = setting(5, "maximum number of paraphrases of a text", COUNT)
    temperature: float = setting(1.0, "of z; a higher one gives texts that are farther away", NOT_NEGATIVE)
    min_distance: int = setting(1, "least number of words in which a paraphrase differs from its text", COUNT)
    reranker: str | None = setting(None, "a sentence encoder, by path or Hub name, that ranks in place of the model")
    diversity: float = setting(0.0, "above 0, paraphrases of a text share fewer words with each other", SHARE)

    def __post_init__(self):
        check_settings(self)


@dataclass
class Denoising:
    closeness: float = setting(2.0, "weight of the words of the noisy text; at 0 z alone counts", NOT_NEGATIVE)

    def __post_init__(self):
        check_settings(self)


@dataclass
class Infilling:
    num_return_sequences: int = setting(5, "maximum number of ways to fill a text", COUNT)
    marker: str = setting("___", "what stands for a gap")
    max_gap_tokens: int = setting(8, "the most tokens in a gap", COUNT)
    allow_empty: bool = setting(False, "a gap may stay empty")
    num_rounds: int = setting(2, "how often gaps are filled", COUNT)
    num_latents: int = setting(2, "best texts whose z are taken in a further round", COUNT)
    num_beams: int = setting(8, "beams of the search, for each z", COUNT)

    def __post_init__(self):
        check_settings(self)


def decode(parser: Parser):
    """Write the text of each vector z.

    textvae decode runs/chitchat --file codes.npy

    Reads what `textvae encode` writes: .npy, .safetensors or .parquet, or standard input with the numbers of one vector
    in a line. With --return_scores a line is log p(x|z) in nats, a tab, and the text.
    """
    add_model(parser)
    parser.add_argument("--file", nargs="+", action="extend", help="vectors: files of .npy, .safetensors or .parquet")
    add_flags(parser, DecodingVectors)
    add_using(parser, decoding=True)
    add_output(parser)
    return _decode


def _decode(arguments: argparse.Namespace) -> None:
    using, controls = settings_of(Using, arguments), decoding_of(arguments)
    has_scores = settings_of(DecodingVectors, arguments).return_scores
    layout = scored_layout() if has_scores else Layout(lambda result: one_line(result["text"]), ["text"])
    output = check_output(arguments, layout)
    refuse_drawn_words(output, controls)
    vectors = read_vectors(arguments.file)
    vae = open_model(arguments, using)
    options: dict[str, Any] = {"batch_size": using.batch_size, "progress": False, "label": using.label, **controls}

    def verb(rows: list) -> list[Result]:
        written = cast(list, vae.decode(rows, return_scores=has_scores, **options))
        return [scored(*one) if has_scores else {"text": one} for one in written]

    stream(vectors, output, layout, using.batch_size, verb)


def reconstruct(parser: Parser):
    """Write each text back from its z.

    textvae reconstruct runs/chitchat "I love listening to music." --num_beams 4
    """
    add_model(parser)
    add_texts(parser)
    add_using(parser, decoding=True)
    add_output(parser)
    return _reconstruct


def _reconstruct(arguments: argparse.Namespace) -> None:
    layout = Layout(lambda result: one_line(result["reconstruction"]), ["text", "reconstruction"])

    def verb(vae: "TextVAEPipeline", texts: list[str], options: dict[str, Any]) -> list[Result]:
        written = vae.reconstruct(texts, **options)
        return [{"text": text, "reconstruction": new} for text, new in zip(texts, written, strict=True)]

    for_each_text(arguments, layout, verb)


def sample(parser: Parser):
    """Write texts from the prior.

    textvae sample runs/chitchat --num_samples 3 --temperature 0.7 --seed 1
    """
    add_model(parser)
    add_flags(parser, Sampling)
    add_using(parser, decoding=True)
    add_output(parser)
    return _sample


def _sample(arguments: argparse.Namespace) -> None:
    using, sampling, controls = settings_of(Using, arguments), settings_of(Sampling, arguments), decoding_of(arguments)
    layout = Layout(lambda result: one_line(result["text"]), ["text"])
    output = check_output(arguments, layout)
    refuse_drawn_words(output, controls)
    vae = open_model(arguments, using)
    skip_noise(output, vae.model.config.latent_size)
    options: dict[str, Any] = {"batch_size": using.batch_size, "progress": False, "label": using.label, **controls}

    def verb(numbers: list[int]) -> list[Result]:
        written = vae.sample(len(numbers), sampling.temperature, prior=sampling.prior, **options)
        return [{"text": text} for text in written]

    stream(range(sampling.num_samples), output, layout, using.batch_size, verb)


def interpolate(parser: Parser):
    """Write the texts on the way from one text to another; the ends are their reconstructions.

    textvae interpolate runs/chitchat "I love music." "Where do you come from?" --num_steps 5 --path spherical

    For many pairs give a --file with a column for each end, or on standard input two texts in a line, with a tab
    between them.
    """
    add_model(parser)
    add_pairs(parser)
    add_flags(parser, Walking)
    add_using(parser, decoding=True)
    add_output(parser)
    return _interpolate


def _interpolate(arguments: argparse.Namespace) -> None:
    using, walking, controls = settings_of(Using, arguments), settings_of(Walking, arguments), decoding_of(arguments)
    columns = ["start", "end", *(f"text_{number}" for number in range(1, walking.num_steps + 1))]
    layout = Layout(lambda result: "\n".join(map(one_line, result["texts"])), columns, has_one_line=False)
    output = check_output(arguments, layout)
    refuse_drawn_words(output, controls)
    pairs = read_pairs(arguments)
    vae = open_model(arguments, using)

    def verb(rows: list[Pair]) -> list[Result]:
        options = options_of(using, rows) | controls
        starts, ends = [row.start for row in rows], [row.end for row in rows]
        ways = vae.interpolate(starts, ends, walking.num_steps, walking.path, dedupe=walking.dedupe, **options)
        return [{"start": row.start, "end": row.end, "texts": way} for row, way in zip(rows, ways, strict=True)]

    stream(pairs, output, layout, using.batch_size, verb)


def traverse(parser: Parser):
    """Write each text with one dimension of its z moved in steps.

    textvae traverse runs/chitchat "I love listening to music." --dimension 2

    The text in the middle is the reconstruction. With --axes principal dimension 0 is the axis along which texts vary
    most.
    """
    add_model(parser)
    add_texts(parser)
    add_flags(parser, Traversing)
    add_using(parser, decoding=True)
    add_output(parser)
    return _traverse


def _traverse(arguments: argparse.Namespace) -> None:
    moving = settings_of(Traversing, arguments)
    columns = ["text", *(f"text_{number}" for number in range(1, moving.num_steps + 1))]
    layout = Layout(lambda result: "\n".join(map(one_line, result["texts"])), columns, has_one_line=False)

    def verb(vae: "TextVAEPipeline", texts: list[str], options: dict[str, Any]) -> list[Result]:
        ways = vae.traverse(texts, **options, **asdict(moving))
        return [{"text": text, "texts": way} for text, way in zip(texts, ways, strict=True)]

    for_each_text(arguments, layout, verb)


def paraphrase(parser: Parser):
    """Write other texts near each text, the best first.

    textvae paraphrase runs/chitchat "It was really nice to meet you." --num_return_sequences 3

    Lines of text are the text and, two spaces further in, its paraphrases. With --format tsv or jsonl each text has one
    line.
    """
    add_model(parser)
    add_texts(parser)
    add_flags(parser, Paraphrasing)
    add_using(parser, decoding=True)
    add_output(parser)
    return _paraphrase


def _paraphrase(arguments: argparse.Namespace) -> None:
    from textvae.pipeline.paraphrase import ROUNDS
    from textvae.pipeline.ranking import as_reranker

    using, controls = settings_of(Using, arguments), decoding_of(arguments)
    settings = settings_of(Paraphrasing, arguments)
    wanted, reranker = settings.num_return_sequences, settings.reranker
    columns = ["text", *(f"paraphrase_{number}" for number in range(1, wanted + 1))]
    layout = Layout(_indented, columns, has_one_line=False)
    output = check_output(arguments, layout)
    refuse_drawn_words(output, controls)
    texts = read_texts(arguments)
    vae = open_model(arguments, using)
    if reranker is not None:  # opened once, and not for each part
        reranker = as_reranker(reranker, vae.device)
    skip_noise(output, ROUNDS, controls.get("num_candidates", 4 * wanted), vae.model.config.latent_size)

    def verb(rows: list[Row]) -> list[Result]:
        given = [row.text for row in rows]
        options: dict[str, Any] = options_of(using, rows) | asdict(settings) | controls | {"reranker": reranker}
        found = vae.paraphrase(given, **options)
        return [{"text": text, "paraphrases": own} for text, own in zip(given, found, strict=True)]

    stream(texts, output, layout, using.batch_size, verb)


def infill(parser: Parser):
    """Write the missing words of each text, the best first; all given words stay.

    textvae infill runs/chitchat "I ___ the ___." --num_return_sequences 3

    Lines of text are the text and, two spaces further in, the ways to fill it. With --format tsv or jsonl each text has
    one line.
    """
    add_model(parser)
    add_texts(parser)
    add_flags(parser, Infilling)
    add_using(parser)
    add_output(parser)
    return _infill


def _infill(arguments: argparse.Namespace) -> None:
    settings = settings_of(Infilling, arguments)
    columns = ["text", *(f"filled_{number}" for number in range(1, settings.num_return_sequences + 1))]
    layout = Layout(_indented, columns, has_one_line=False)

    def verb(vae: "TextVAEPipeline", texts: list[str], options: dict[str, Any]) -> list[Result]:
        found = vae.infill(texts, **options | asdict(settings))  # which has beams of its own
        return [{"text": text, "filled": own} for text, own in zip(texts, found, strict=True)]

    for_each_text(arguments, layout, verb)


def _indented(result: Result) -> str:
    text, written = result.values()
    return "\n".join([one_line(text), *(f"  {one_line(own)}" for own in written)])


def denoise(parser: Parser):
    """Write noisy texts clean: typing errors, words that are lost, replaced or in another order.

    textvae denoise runs/denoise "I loove listening to musci." "Where do ___ come from?"

    The model should have been trained with noise: another one cleans badly, and a warning says so. A word ___ is one
    that is known to be missing.
    """
    add_model(parser)
    add_texts(parser)
    add_flags(parser, Denoising)
    add_using(parser, decoding=True)
    add_output(parser)
    return _denoise


def _denoise(arguments: argparse.Namespace) -> None:
    closeness = settings_of(Denoising, arguments).closeness
    layout = Layout(lambda result: one_line(result["clean"]), ["text", "clean"])

    def verb(vae: "TextVAEPipeline", texts: list[str], options: dict[str, Any]) -> list[Result]:
        written = vae.denoise(texts, closeness, **options)
        return [{"text": text, "clean": new} for text, new in zip(texts, written, strict=True)]

    for_each_text(arguments, layout, verb)

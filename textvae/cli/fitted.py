"""Sub-commands that fit to texts, or use what was fitted by the model or by their own flags."""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.outputs import Layout, Result, add_output, one_line
from textvae.cli.texts import add_texts, check_files, check_one_label, with_words
from textvae.cli.verbs import (
    Using,
    add_model,
    add_using,
    decoding_of,
    for_each_text,
    load_labelled,
    open_model,
)
from textvae.config_fields import COUNT, FINITE, NOT_NEGATIVE, check_settings, setting
from textvae.errors import InputError

if TYPE_CHECKING:
    from textvae.pipeline.detect import Detection
    from textvae.pipeline.pipeline import TextVAEPipeline


@dataclass
class Editing:
    strength: float = setting(1.0, "1 is as far as the two classes are apart, 0 rebuilds, below 0 goes back", FINITE)
    method: Literal["mean", "logistic"] = setting("mean", "how a direction is fitted to --positive and --negative")

    def __post_init__(self):
        check_settings(self)


@dataclass
class Detecting:
    num_tokens: int = setting(3, "number of the least expected tokens that are shown", NOT_NEGATIVE)

    def __post_init__(self):
        check_settings(self)


@dataclass
class Fitting:
    max_texts: int = setting(10_000, "texts that the prior is fitted to, chosen by the seed", COUNT)

    def __post_init__(self):
        check_settings(self)


def edit(parser: Parser):
    """Write each text with z moved along a direction, such as from complaints to praise.

    textvae edit runs/chitchat praise --positive praise.txt --negative complaints.txt --file mine.txt --strength 2

    Without --positive and --negative the direction is one that `fit_direction` has saved with the model.
    """
    add_model(parser)
    parser.add_argument("name", metavar="NAME", help="of the direction")
    add_texts(parser)
    for kind in ("positive", "negative"):
        said = f"texts of the {kind} class, one a row: the direction is fitted to both classes now"
        parser.add_argument(f"--{kind}", nargs="+", action="extend", help=said)
    add_flags(parser, Editing)
    add_using(parser, decoding=True)
    add_output(parser)
    return _edit


def _edit(arguments: argparse.Namespace) -> None:
    editing = settings_of(Editing, arguments)
    if (arguments.positive is None) != (arguments.negative is None):
        raise InputError("A direction is fitted to two classes of texts: give both --positive and --negative.")
    check_files(arguments.positive, arguments.negative)
    layout = Layout(lambda result: one_line(result["edited"]), ["text", "edited"])

    def fit(vae: "TextVAEPipeline", using: Using) -> None:
        if arguments.positive is not None:
            positive, label = load_labelled(arguments, arguments.positive, using)
            negative, others = load_labelled(arguments, arguments.negative, using)
            if isinstance(label, list) and isinstance(others, list):
                label = label + others
            classes = positive["text"][:], negative["text"][:]
            vae.fit_direction(arguments.name, *classes, editing.method, using.batch_size, label=label)

    def verb(vae: "TextVAEPipeline", texts: list[str], options: dict[str, Any]) -> list[Result]:
        edited = vae.edit(texts, arguments.name, editing.strength, **options)
        return [{"text": text, "edited": new} for text, new in zip(texts, edited, strict=True)]

    for_each_text(arguments, layout, verb, fit)


def analogy(parser: Parser):
    """Write what is to C as B is to A.

    textvae analogy runs/chitchat "I like pizza." "I liked pizza." "I like music."
    """
    add_model(parser)
    for name in "abc":
        parser.add_argument(name, metavar=name.upper(), help="a text")
    add_using(parser, decoding=True)
    return _analogy


def _analogy(arguments: argparse.Namespace) -> None:
    using, controls = settings_of(Using, arguments), decoding_of(arguments)
    a, b, c = (with_words(getattr(arguments, name), f"Text {name.upper()}") for name in "abc")
    vae = open_model(arguments, using)
    print(vae.analogy(a, b, c, batch_size=using.batch_size, progress=False, label=using.label, **controls))


def detect(parser: Parser):
    """Find unusual texts: a p-value among normal texts, and the least expected tokens of each text.

    cat mine.txt | textvae detect runs/chitchat --normal usual.txt | sort -g | head

    A line is the p-value, the score, the text, and its least expected tokens with their nats, between tabs. Without
    --normal the detector is the one that `fit_detector` has saved with the model. Normal texts should be new to the
    model, and 200 at least.
    """
    add_model(parser)
    add_texts(parser)
    parser.add_argument("--normal", nargs="+", action="extend", help=f"normal texts. {FILE_HELP}")
    add_flags(parser, Detecting)
    add_using(parser)
    add_output(parser)
    return _detect


def _detect(arguments: argparse.Namespace) -> None:
    detecting = settings_of(Detecting, arguments)
    check_files(arguments.normal)
    layout = Layout(_as_line, ["p_value", "score", "text", "least_expected"])

    def fit(vae: "TextVAEPipeline", using: Using) -> None:
        if arguments.normal is not None:
            normal, label = load_labelled(arguments, arguments.normal, using)
            vae.fit_detector(normal["text"][:], batch_size=using.batch_size, label=label)

    def verb(vae: "TextVAEPipeline", texts: list[str], options: dict[str, Any]) -> list[Result]:
        found = vae.detect(texts, **options, **asdict(detecting))
        return [_result(*pair) for pair in zip(texts, cast("list[Detection]", found), strict=True)]

    for_each_text(arguments, layout, verb, fit)


def fit_prior(parser: Parser):
    """Fit a prior to texts, and keep it beside the model for sample.

    textvae fit_prior runs/chitchat mixture --file mine.txt

    A gaussian is what training fits. A mixture or a flow takes a minute or two; `textvae sample MODEL --prior flow`
    then draws from it. Give texts that the model was trained on, 10,000 or more.
    """
    add_model(parser)
    parser.add_argument("prior", metavar="PRIOR", help="gaussian, mixture or flow")
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--label_column", help="column of the labels, for a model with labels")
    parser.add_argument("--overwrite", action="store_true", help="replace a prior of this kind that is there")
    add_flags(parser, Fitting)
    add_using(parser)
    return _fit_prior


def _fit_prior(arguments: argparse.Namespace) -> None:
    from textvae.data.corpora import load_texts
    from textvae.files import check_new_files
    from textvae.pipeline.priors import PRIOR_FILES, check_kind, save_prior

    using, fitting = settings_of(Using, arguments), settings_of(Fitting, arguments)
    name, place = arguments.prior, Path(arguments.model)
    check_kind(name)
    check_one_label(arguments)
    if not place.is_dir():
        raise InputError(f"{arguments.model} is no directory, and the prior is kept in it: give that of a model.")
    if (place / PRIOR_FILES[name]).exists() and not arguments.overwrite:
        raise InputError(f"{place / PRIOR_FILES[name]} exists: add --overwrite to replace it.")
    check_new_files(place)
    vae = open_model(arguments, using)
    rows = load_texts(arguments.file, arguments.text_column, label_column=arguments.label_column)
    rows = rows.shuffle(using.seed, keep_in_memory=True)[: fitting.max_texts]
    label = rows["label"] if arguments.label_column else using.label
    vae.fit_prior(rows["text"], name, using.seed, using.batch_size, sys.stderr.isatty(), label)
    save_prior(place, name, vae.priors[name])


def _result(text: str, found: "Detection") -> Result:
    tokens = ", ".join(f"{token} {nats:.1f}" for token, nats in found.least_expected)
    return {"p_value": round(found.p_value, 4), "score": round(found.score, 4), "text": text, "least_expected": tokens}


def _as_line(result: Result) -> str:
    numbers = f"{result['p_value']:.4f}\t{result['score']:.4f}"
    return f"{numbers}\t{one_line(result['text'])}\t{one_line(result['least_expected'])}"

"""The sub-command report."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.verbs import add_model, cut_texts_added_up
from textvae.config_fields import setting
from textvae.errors import InputError


@dataclass
class On:
    device: str | None = setting(None, "such as cpu or cuda; none is a GPU if there is one, else the CPU")


def report(parser: Parser):
    """Write a page about a model: measures, curves, samples, what z holds, and the most unusual texts.

    textvae report runs/chitchat --file mine.txt --output mine.html

    The page is one HTML file that needs nothing else, for a screen, a phone or paper. Texts of --file should be new to
    the model. The tail has p-values if a detector is saved with the model, see `fit_detector`.
    """
    from textvae.report.page import PageSettings

    add_model(parser)
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text", help="column of the texts in a table (default: text)")
    parser.add_argument("--target_column", help="column of the target texts, for a model of pairs")
    parser.add_argument("--label_column", help="column of the labels, for a model with labels")
    parser.add_argument("--output", default="report.html", metavar="FILE", help="the page (default: report.html)")
    parser.add_argument("--overwrite", action="store_true", help="replace an --output that exists")
    add_flags(parser, PageSettings)
    add_flags(parser, On)
    return _report


def _report(arguments: argparse.Namespace) -> None:
    from textvae.data.corpora import load_texts
    from textvae.pipeline.pipeline import TextVAEPipeline
    from textvae.report.page import PageSettings, check_page, write_page

    settings, path = settings_of(PageSettings, arguments), Path(arguments.output)
    check_page(path, arguments.overwrite)
    texts = load_texts(arguments.file, arguments.text_column, arguments.target_column, arguments.label_column)
    vae = TextVAEPipeline.from_pretrained(arguments.model, device=settings_of(On, arguments).device)
    if vae.model.config.label_names and not arguments.label_column:
        raise InputError(f"{arguments.model} has labels: add --label_column.")
    if arguments.label_column and not vae.model.config.label_names:
        raise InputError(f"{arguments.model} has no labels: leave --label_column out.")
    with cut_texts_added_up():
        write_page(vae, texts, path, settings, arguments.overwrite)
    print(f"{path}, {path.stat().st_size / 1000:,.0f} kB")

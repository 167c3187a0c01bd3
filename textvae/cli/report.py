"""The sub-command report."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from textvae.cli.arguments import Parser, add_flags, settings_of
from textvae.cli.verbs import add_corpus, add_model, check_label_column, cut_texts_added_up, load_corpus
from textvae.config_fields import setting


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
    add_corpus(parser)
    parser.add_argument("--output", default="report.html", metavar="FILE", help="the page (default: report.html)")
    parser.add_argument("--overwrite", action="store_true", help="replace an --output that exists")
    add_flags(parser, PageSettings)
    add_flags(parser, On)
    return _report


def _report(arguments: argparse.Namespace) -> None:
    from textvae.pipeline.pipeline import TextVAEPipeline
    from textvae.report.page import PageSettings, check_page, write_page

    settings, path = settings_of(PageSettings, arguments), Path(arguments.output)
    check_page(path, arguments.overwrite)
    texts = load_corpus(arguments)
    vae = TextVAEPipeline.from_pretrained(arguments.model, device=settings_of(On, arguments).device)
    check_label_column(arguments, vae)
    with cut_texts_added_up():
        write_page(vae, texts, path, settings, arguments.overwrite)
    print(f"{path}, {path.stat().st_size / 1000:,.0f} kB")

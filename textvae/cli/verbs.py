"""What the sub-commands that use a model share: their settings, and the stream from what is read to what is written."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tqdm import tqdm

from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.outputs import Layout, Output, Result, check_output, opened
from textvae.cli.texts import Pair, Row, read_texts
from textvae.config_fields import COUNT, NOT_NEGATIVE, POSITIVE, SEED, SHARE, check_settings, setting
from textvae.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

    from textvae.pipeline.pipeline import TextVAEPipeline

T = TypeVar("T")


@dataclass
class Using:
    """How a model is used."""

    label: str | None = setting(None, "label of all texts, for a model with labels")
    seed: int = setting(0, "random seed", SEED)
    batch_size: int = setting(64, "texts in the model at a time", COUNT)
    device: str | None = setting(None, "such as cpu or cuda; none is a GPU if there is one, else the CPU")

    def __post_init__(self):
        check_settings(self)


@dataclass
class Decoding:
    """How a text is written for a z; what is not given is left to the verb."""

    num_beams: int | None = setting(None, "beams of the search for a text", COUNT)
    num_candidates: int | None = setting(
        None,
        "texts for each z, of which the one read back nearest is kept; of paraphrase: z per round",
        COUNT,
    )
    do_sample: bool = setting(False, "draw words, in place of the likeliest")
    top_k: int | None = setting(None, "draw from so many of the likeliest words", NOT_NEGATIVE)
    top_p: float | None = setting(None, "draw from the likeliest words of this total probability", SHARE)
    repetition_penalty: float | None = setting(None, "above 1, words that were written are less likely", POSITIVE)
    no_repeat_ngram_size: int | None = setting(None, "no run of so many tokens is written twice", NOT_NEGATIVE)
    min_new_tokens: int | None = setting(None, "the fewest tokens of a text", NOT_NEGATIVE)
    max_new_tokens: int | None = setting(None, "the most tokens of a text", COUNT)

    def __post_init__(self):
        check_settings(self)


def add_model(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train wrote, or a model on the Hub")


def decoding_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The decoding controls that were given, for a verb of the pipeline."""
    given = asdict(settings_of(Decoding, arguments))
    return {name: value for name, value in given.items() if value is not None and value is not False}


def add_using(parser: Parser, decoding: bool = False) -> None:
    """Add the flags of `Using` and, for verbs that write texts, of `Decoding`."""
    add_flags(parser, Using)
    if decoding:
        add_flags(parser, Decoding)


def add_corpus(parser: Parser) -> None:
    """Add the flags of the texts that a model is measured on: files and their columns."""
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text", help="column of the texts in a table (default: text)")
    parser.add_argument("--target_column", help="column of the target texts, decoded from the z of --text_column")
    parser.add_argument("--label_column", help="column of the labels, for a model with labels")


def load_corpus(arguments: argparse.Namespace) -> "Dataset":
    """The texts that `add_corpus` has flags for."""
    from textvae.data.corpora import load_texts

    return load_texts(arguments.file, arguments.text_column, arguments.target_column, arguments.label_column)


def load_labelled(
    arguments: argparse.Namespace, files: Sequence[str], using: Using
) -> tuple["Dataset", list[str] | str | None]:
    """The texts of other files than --file, and the label of each by --label_column, or that of all by --label."""
    from textvae.data.corpora import load_texts

    texts = load_texts(files, arguments.text_column, label_column=arguments.label_column)
    return texts.select_columns("text"), texts["label"][:] if arguments.label_column else using.label


def check_label_column(arguments: argparse.Namespace, vae: "TextVAEPipeline") -> None:
    """Raises InputError if the model has labels and --label_column is not given, or the other way round."""
    names = vae.model.config.label_names
    if arguments.label_column and not names:
        raise InputError(f"{arguments.model} has no labels: leave --label_column out.")
    if names and not arguments.label_column:
        raise InputError(f"{arguments.model} has labels: add --label_column.")


def open_model(arguments: argparse.Namespace, using: Using) -> "TextVAEPipeline":
    """The model, with torch's random state set by the seed.

    A verb without a seed draws from that state, part after part, what the verb with this seed draws at once.
    """
    import torch

    from textvae.pipeline.pipeline import TextVAEPipeline

    vae = TextVAEPipeline.from_pretrained(arguments.model, device=using.device)
    torch.manual_seed(using.seed)
    return vae


def options_of(using: Using, rows: Sequence[Row | Pair]) -> dict[str, Any]:
    """The arguments of a verb that say how it reads these rows."""
    label = [row.label for row in rows] if rows[0].label is not None else using.label
    return {"batch_size": using.batch_size, "progress": False, "label": label}


def for_each_text(
    arguments: argparse.Namespace,
    layout: Layout,
    verb: Callable[["TextVAEPipeline", list[str], dict[str, Any]], list[Result]],
    prepare: Callable[["TextVAEPipeline", Using], None] | None = None,
) -> None:
    """Write the results of a verb for all texts; a mistake in flags or the first text is told before a model is opened.

    Args:
        verb: gives a result for each of some texts, with the options that say how they are read and written.
        prepare: is done once, with the opened model.
    """
    using, controls = settings_of(Using, arguments), decoding_of(arguments)
    output = check_output(arguments, layout)
    refuse_drawn_words(output, controls)
    texts = read_texts(arguments)
    vae = open_model(arguments, using)
    if prepare is not None:
        prepare(vae, using)

    def results(rows: list[Row]) -> list[Result]:
        return verb(vae, [row.text for row in rows], options_of(using, rows) | controls)

    stream(texts, output, layout, using.batch_size, results)


def stream(
    items: Iterable[T], output: Output, layout: Layout, batch_size: int, verb: Callable[[list[T]], list[Result]]
) -> None:
    """Write the results of a verb for all items, part by part.

    Raises:
        InputError: if an interrupted run has left more results than there are items.
    """
    from textvae.pipeline.chunks import in_parts

    items, done = iter(items), output.done or 0
    if sum(1 for _ in islice(items, done)) < done:
        raise InputError(f"{output.path} holds {done} results and the input is shorter: give the input of that run.")
    is_silent = not sys.stderr.isatty() or (output.path is None and sys.stdout.isatty())
    bar = tqdm(unit=" texts", initial=done, disable=is_silent)
    with bar, cut_texts_added_up(), opened(output, layout) as write:
        for part in in_parts(items, batch_size):
            write(verb(part))
            bar.update(len(part))


@contextmanager
def cut_texts_added_up() -> Iterator[None]:
    """A context in which the number of texts that were too long is logged once, and not for each part."""
    logger, counts = logging.getLogger("textvae.pipeline.codec"), {}

    def add(record: logging.LogRecord) -> bool:
        if "were cut" not in record.msg or not isinstance(record.args, tuple):
            return True
        cut, _, length = cast("tuple[int, int, int]", record.args)
        counts[length] = counts.get(length, 0) + cut
        return False

    logger.addFilter(add)
    try:
        yield
    finally:
        logger.removeFilter(add)
        for length, count in counts.items():
            logger.warning("%d texts were cut to %d tokens", count, length)


def skip_noise(output: Output, *size: int) -> None:
    """Draw the noise of the results that are there: this much for each, so that the next ones are as in one run."""
    import torch

    from textvae.pipeline.draws import Draws

    draws = Draws(None, torch.device("cpu"))
    for _ in range(output.done or 0):
        draws.noise(*size)


def refuse_drawn_words(output: Output, controls: dict[str, Any]) -> None:
    """Raises InputError if a run that draws words is to be resumed."""
    if output.done is not None and controls.get("do_sample"):
        raise InputError("--resume cannot continue the random words of --do_sample: leave one of the two out.")

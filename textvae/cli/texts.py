"""The texts that a command reads: its arguments, files, or the lines of standard input; row by row, however many."""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

from textvae.cli.arguments import FILE_HELP, Parser
from textvae.errors import InputError

logger = logging.getLogger(__name__)

STANDARD_INPUT = "Standard input"

T = TypeVar("T")


class Row(NamedTuple):
    """A text, and its label if there is a --label_column."""

    text: str
    label: str | None = None


class Pair(NamedTuple):
    """Both ends of a walk, and their label if there is a --label_column."""

    start: str
    end: str
    label: str | None = None


def add_texts(parser: Parser) -> None:
    """Add the arguments that say where texts come from."""
    said = "without any, and without --file, each line of standard input is one"
    parser.add_argument("texts", nargs="*", default=[], metavar="TEXT", help=said)
    parser.add_argument("--file", nargs="+", action="extend", help=FILE_HELP)
    parser.add_argument("--text_column", default="text", help="column of the texts in a table (default: text)")
    parser.add_argument("--label_column", help="column of the labels in a table, for a model with labels")


def add_pairs(parser: Parser) -> None:
    """Add the arguments that say where pairs of texts come from."""
    said = "a text; without any, and without --file, each line of standard input is two with a tab between them"
    parser.add_argument("start", nargs="?", help=said)
    parser.add_argument("end", nargs="?", help="another text")
    parser.add_argument("--file", nargs="+", action="extend", help=FILE_HELP.replace("texts", "tables of pairs"))
    parser.add_argument("--start_column", default="start", help="column of the first texts (default: start)")
    parser.add_argument("--end_column", default="end", help="column of the second texts (default: end)")
    parser.add_argument("--label_column", help="column of the labels, for a model with labels")


def read_texts(arguments: argparse.Namespace) -> Iterator[Row]:
    """The arguments, then the rows of --file; without either the lines of standard input.

    Of files, rows with a blank are left out, as in training, and their number is logged at the end.

    Raises:
        InputError: for no text at all, a blank argument or line, and what cannot be read; the message names the line.
            What stands far on in the input is checked when it is read.
    """
    check_one_label(arguments)
    given = (Row(with_words(text, f"Text {number}")) for number, text in enumerate(arguments.texts, 1))
    if arguments.file:
        columns = {"text": arguments.text_column, "label": arguments.label_column}
        return _started(chain(given, (Row(**row) for row in _rows_of(arguments.file, columns))))
    _refuse_label_column(arguments)
    return _started(given if arguments.texts else map(Row, read_lines()))


def read_pairs(arguments: argparse.Namespace) -> Iterator[Pair]:
    """The two arguments, or the rows of --file, or the lines of standard input; see `read_texts`."""
    check_one_label(arguments)
    is_given = arguments.start is not None
    if is_given and (arguments.end is None or arguments.file):
        raise InputError("A walk goes from one text to another: give two texts, or a --file with such pairs.")
    if arguments.file:
        columns = {"start": arguments.start_column, "end": arguments.end_column, "label": arguments.label_column}
        return _started(Pair(**row) for row in _rows_of(arguments.file, columns))
    _refuse_label_column(arguments)
    if is_given:
        given = [with_words(text, f"Text {number}") for number, text in enumerate((arguments.start, arguments.end), 1)]
        return iter([Pair(*given)])
    return _started(_pair_in(line, number) for number, line in enumerate(read_lines(), 1))


def _pair_in(line: str, number: int) -> Pair:
    place, texts = f"{STANDARD_INPUT}, line {number}", line.split("\t")
    if len(texts) != 2:
        raise InputError(f"{place} is not two texts with one tab between them: correct it.")
    return Pair(*(with_words(text, place) for text in texts))


def check_files(*several: Sequence[str] | None) -> None:
    """Raises InputError if a flag that takes files was given something else, such as the texts behind it."""
    from textvae.data.corpus_files import find_files

    for names in several:
        if names is None:
            continue
        try:
            find_files(names)
        except InputError as error:
            if any(" " in name.strip() for name in names):
                raise InputError(f"{error} Texts stand before a flag that takes several files.") from error
            raise


def check_one_label(arguments: argparse.Namespace) -> None:
    """Raises InputError if labels are asked for in two ways."""
    if arguments.label_column and getattr(arguments, "label", None) is not None:
        raise InputError("--label is one for all texts, and --label_column one for each: leave one of them out.")


def _refuse_label_column(arguments: argparse.Namespace) -> None:
    if arguments.label_column:
        raise InputError("--label_column is a column of --file: give a --file, or --label for all texts.")


def _rows_of(names: Sequence[str], columns: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """The rows of files; `columns` are their columns by what they become, None for what there is not."""
    from textvae.data.corpus_files import find_files, listed
    from textvae.data.readers import read_rows
    from textvae.data.text_columns import has_words, say_once

    files = find_files(names)
    wanted = {what: column for what, column in columns.items() if column is not None}

    def rows() -> Iterator[dict[str, Any]]:
        kept = dropped = 0
        for values in chain.from_iterable(read_rows(path, wanted, say_once) for path in files):
            if all(map(has_words, values)):
                kept += 1
                yield dict(zip(wanted, values, strict=True))
            else:
                dropped += 1
        if not kept:
            raise InputError(f"{listed(names)} holds no text: give one with words in it.")
        if dropped:
            logger.warning("%s: %d rows with a blank were left out", listed(names), dropped)

    return rows()


def read_lines() -> Iterator[str]:
    """The lines of standard input, without their ends.

    Raises:
        InputError: if it is a terminal, empty, binary or not UTF-8, or a line is blank.
    """
    from textvae.data.open_text import lines_in

    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("There is nothing to read: give it as arguments, with --file, or on standard input.")
    number = 0
    for number, line in enumerate(lines_in(sys.stdin.buffer, STANDARD_INPUT), 1):  # pyright: ignore[reportArgumentType]
        yield with_words(line.rstrip("\r\n"), f"{STANDARD_INPUT}, line {number}")
    if not number:
        raise InputError(f"{STANDARD_INPUT} is empty: give lines, or arguments, or --file.")


def with_words(text: str, place: str) -> str:
    """This text; raises InputError if it is blank."""
    if not text.strip():
        raise InputError(f"{place} is blank: leave it out, or write something.")
    return text


def _started(rows: Iterator[T]) -> Iterator[T]:
    """The same rows, of which the first has been read: what is wrong with it is said before a model is opened."""
    return chain(list(islice(rows, 1)), rows)

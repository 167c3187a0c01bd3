"""The results of a command: lines on standard output or in a file, or a file of vectors.

While a file is written it is FILE.partial. It becomes FILE when it is complete, so that no part is taken for the whole.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from textvae.cli import vectors
from textvae.cli.arguments import Parser
from textvae.errors import InputError
from textvae.files import blocks, check_place

Result = dict[str, Any]
Write = Callable[[list[Result]], object]

FORMATS = ("text", "jsonl", "tsv")
_BREAKS = re.compile(r"[\r\n]+")
_BREAKS_AND_TABS = re.compile(r"[\r\n\t]+")


class Layout(NamedTuple):
    """How results are written in lines.

    Attributes:
        as_text: a result as plain text.
        columns: those of a table; the values of a result, and the items of its lists, fill them in this order.
        has_one_line: whether a result is always one line of plain text.
    """

    as_text: Callable[[Result], str]
    columns: list[str]
    has_one_line: bool = True


class Output(NamedTuple):
    """Where results go, checked.

    Attributes:
        path: the file, or None for standard output.
        form: one of `FORMATS`, or the ending of a file of vectors.
        done: the number of results that an interrupted run has left; None if there is nothing to continue.
    """

    path: Path | None
    form: str
    done: int | None = None


def add_output(parser: Parser) -> None:
    """Add the arguments that say where results go."""
    parser.add_argument("--output", metavar="FILE", help="write the results to this file (default: standard output)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="lines of text, JSON, or a table with tabs (default: as the ending of --output says, else text)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an --output that exists")
    parser.add_argument("--resume", action="store_true", help="continue the --output of an interrupted run")


def check_output(arguments: argparse.Namespace, layout: Layout, has_vectors: bool = False) -> Output:
    """Where the results go.

    Raises:
        InputError: if the file exists and neither --overwrite nor --resume is given, or cannot be written; if its
            ending is not for these results, or those in it cannot be counted.
    """
    if arguments.overwrite and arguments.resume:
        raise InputError("--overwrite starts anew and --resume continues: keep one of the two.")
    if arguments.output is None:
        if arguments.overwrite or arguments.resume:
            raise InputError("--overwrite and --resume are about a file: add --output.")
        return Output(None, arguments.format or "text")
    path = Path(arguments.output)
    form = arguments.format or _form_of(path, has_vectors)
    check_place(path)
    check_place(partial(path))
    if arguments.resume:
        return Output(path, form, _count_results(path, form, layout))
    for one in (path, partial(path)):
        if one.exists() and not arguments.overwrite:
            raise InputError(f"{one} exists: add --resume to continue it, or --overwrite to start anew.")
    return Output(path, form)


def partial(path: Path) -> Path:
    """Where a file is written until it is complete."""
    return path.with_name(f"{path.name}.partial")


def _form_of(path: Path, has_vectors: bool) -> str:
    ending = path.suffix.lower()
    if ending in vectors.WRITERS and not has_vectors:
        raise InputError(f"{path} is a file of vectors, and the results are texts: give a .txt, .jsonl or .tsv.")
    return ending if ending in vectors.WRITERS else ending[1:] if ending[1:] in FORMATS else "text"


def _count_results(path: Path, form: str, layout: Layout) -> int:
    if form not in FORMATS or (form == "text" and not layout.has_one_line):
        raise InputError(f"--resume counts lines, and {path} has not one for each result: give a .jsonl or .tsv.")
    found = partial(path) if partial(path).exists() else path
    if not found.exists():
        return 0
    with found.open("rb") as file:
        lines = sum(block.count(b"\n") for block in blocks(file))
    return max(0, lines - (form == "tsv"))  # less its header


@contextmanager
def opened(output: Output, layout: Layout) -> Iterator[Write]:
    """A context that gives the function that writes results; they are out when it returns."""
    if output.path is None:
        yield _to_standard_output(output.form, layout)
        return
    if output.form in vectors.WRITERS:
        try:
            with vectors.WRITERS[output.form](partial(output.path)) as write:
                yield write
        except BaseException:  # it cannot be continued
            partial(output.path).unlink(missing_ok=True)
            raise
    else:
        _take_up(output, layout)
        before = _first_line(partial(output.path))
        try:
            with partial(output.path).open("a", encoding="utf-8", newline="\n") as file:
                lines = _lines(output.form, layout, has_header=not file.tell())

                def write(results: list[Result]) -> None:
                    if before and output.form == "jsonl" and _names_in(before) != list(results[0]):
                        raise _of_another(output)
                    file.writelines(f"{line}\n" for line in lines(results))
                    file.flush()

                yield write
        except BaseException:
            if not partial(output.path).stat().st_size:  # there is nothing to continue
                partial(output.path).unlink()
            raise
    partial(output.path).replace(output.path)


def _to_standard_output(form: str, layout: Layout) -> Write:
    from textvae.processes import say

    lines = _lines(form, layout, has_header=True)
    return lambda results: say("\n".join(lines(results)))


def _take_up(output: Output, layout: Layout) -> None:
    """Leave in FILE.partial what is to be continued: the complete lines of an interrupted run, or nothing.

    Raises:
        InputError: for a table with other columns; nothing of it is changed.
    """
    assert output.path is not None
    place = partial(output.path)
    if output.done is not None and output.form == "tsv":
        first = _first_line(place if place.exists() else output.path)
        if not ("\t".join(layout.columns) + "\n").startswith(first):
            raise _of_another(output)
    if output.done is None:
        place.unlink(missing_ok=True)
    elif not place.exists() and output.path.exists():
        output.path.replace(place)
    if place.exists():
        with place.open("r+b") as file:
            ends = (len(line) for line in file if line.endswith(b"\n"))
            length = sum(ends)
            file.truncate(length)


def _first_line(path: Path) -> str:
    """The first line of a file, with its end; "" if there is no such file or line."""
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline()


def _names_in(line: str) -> list[str] | None:
    try:
        return list(json.loads(line))
    except (ValueError, TypeError):
        return None


def _of_another(output: Output) -> InputError:
    return InputError(f"{output.path} holds the results of another command: give that of the run to be resumed.")


def _lines(form: str, layout: Layout, has_header: bool) -> Callable[[list[Result]], Iterator[str]]:
    """A function that gives the lines of results, in a table the header before the first of them."""
    if form == "jsonl":
        return lambda results: (json.dumps(result, ensure_ascii=False) for result in results)
    if form == "text":
        return lambda results: map(layout.as_text, results)
    header = ["\t".join(layout.columns)] if has_header else []

    def rows(results: list[Result]) -> Iterator[str]:
        before = [header.pop()] if header else []
        return chain(before, (_cells(result, len(layout.columns)) for result in results))

    return rows


def _cells(result: Result, width: int) -> str:
    """The values of a result between tabs; for what is missing the last cells are empty."""
    values = chain.from_iterable(value if isinstance(value, list) else [value] for value in result.values())
    cells = [_BREAKS_AND_TABS.sub(" ", str(value)) for value in values]
    return "\t".join(cells + [""] * (width - len(cells)))


def scored(text: str, nats: float) -> Result:
    """The result of a text with a number."""
    return {"score": round(nats, 4), "text": text}


def scored_layout() -> Layout:
    """That of such results: the number with four decimals, a tab, and the text."""
    return Layout(lambda result: f"{result['score']:.4f}\t{one_line(result['text'])}", ["score", "text"])


def one_line(text: str) -> str:
    """The text with spaces for line breaks, so that a line is a result."""
    return _BREAKS.sub(" ", text)

"""Sub-commands about many texts together: index, neighbours, map."""

import argparse
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.outputs import Layout, Result, add_output, check_output, one_line
from textvae.cli.texts import Row, add_texts, check_files, read_texts
from textvae.cli.verbs import Using, add_model, add_using, load_labelled, open_model, options_of, stream
from textvae.config_fields import COUNT, check_settings, setting
from textvae.errors import InputError

if TYPE_CHECKING:
    from textvae.pipeline.pipeline import TextVAEPipeline
    from textvae.pipeline.text_index import TextIndex

logger = logging.getLogger(__name__)


@dataclass
class Searching:
    num_neighbours: int = setting(5, "number of texts of the corpus for each text", COUNT)

    def __post_init__(self):
        check_settings(self)


@dataclass
class Mapping:
    method: Literal["pca", "umap"] = setting("pca", "the plane of most variance, or a layout of groups")

    def __post_init__(self):
        check_settings(self)


def index(parser: Parser):
    """Encode a corpus for neighbours, and keep it in a directory with its texts.

    textvae index runs/chitchat --file mine.txt --output index

    It needs `pip install 'textvae[search]'`, and is of this model alone.
    """
    add_model(parser)
    add_texts(parser)
    add_using(parser)
    _add_place(parser, "DIR", "write the index to this directory", "an index that is there")
    return _index


def _index(arguments: argparse.Namespace) -> None:
    from textvae.files import check_new_files
    from textvae.latents.neighbours import require_faiss
    from textvae.pipeline.text_index import INDEX_FILE, check_index_place

    using, place = settings_of(Using, arguments), Path(arguments.output)
    require_faiss()
    check_index_place(place)
    if (place / INDEX_FILE).exists() and not arguments.overwrite:
        raise InputError(f"{place} holds an index: give another --output, or add --overwrite.")
    check_new_files(place)
    rows = read_texts(arguments)
    vae, rows = open_model(arguments, using), list(rows)
    vae.index([row.text for row in rows], **options_of(using, rows) | {"progress": sys.stderr.isatty()}).save(place)


def neighbours(parser: Parser):
    """Find the texts of a corpus that are nearest to each text, by the cosine of their z.

    textvae neighbours runs/chitchat "I love music." --corpus mine.txt --num_neighbours 3

    Lines of text are the text and, two spaces further in, the cosine and the text of each neighbour. With --format tsv
    or jsonl each text has one line, and also the rows of its neighbours in the corpus, from 0. It needs `pip install
    'textvae[search]'`. A corpus that is asked often is best kept by `textvae index`.
    """
    add_model(parser)
    add_texts(parser)
    said = f"a directory that `textvae index` wrote; or {FILE_HELP}"
    parser.add_argument("--corpus", nargs="+", action="extend", required=True, help=said)
    add_flags(parser, Searching)
    add_using(parser)
    add_output(parser)
    return _neighbours


def _neighbours(arguments: argparse.Namespace) -> None:
    from textvae.pipeline.text_index import TextIndex

    using, searching = settings_of(Using, arguments), settings_of(Searching, arguments)
    layout = Layout(_indented, ["text"], has_one_line=False)
    output = check_output(arguments, layout)
    is_index = _is_index(arguments.corpus)
    if not is_index:
        check_files(arguments.corpus)
    texts = read_texts(arguments)
    vae = open_model(arguments, using)
    corpus = TextIndex.load(arguments.corpus[0]) if is_index else _new_index(arguments, vae, using)
    if searching.num_neighbours > len(corpus):
        logger.warning("The corpus has %d texts, so that each text has only these neighbours", len(corpus))
    shown = range(1, min(searching.num_neighbours, len(corpus)) + 1)
    layout.columns.extend(f"{what}_{number}" for what in ("neighbour", "similarity", "row") for number in shown)

    def verb(rows: list[Row]) -> list[Result]:
        found = vae.neighbours([row.text for row in rows], corpus, **asdict(searching), **options_of(using, rows))
        return [_result(row.text, own) for row, own in zip(rows, cast(list, found), strict=True)]

    stream(texts, output, layout, using.batch_size, verb)


def _is_index(places: list[str]) -> bool:
    """Whether --corpus is a directory that `textvae index` wrote; raises InputError if there is one among others."""
    from textvae.pipeline.text_index import INDEX_FILE

    indexes = [place for place in places if (Path(place) / INDEX_FILE).exists()]
    if indexes and len(places) > 1:
        raise InputError(f"{indexes[0]} is an index: give it alone as --corpus, or files of texts.")
    return bool(indexes)


def _new_index(arguments: argparse.Namespace, vae: "TextVAEPipeline", using: Using) -> "TextIndex":
    """That of the texts in the files of --corpus."""
    corpus, label = load_labelled(arguments, arguments.corpus, using)
    return vae.index(corpus, using.batch_size, sys.stderr.isatty(), label)


def _result(text: str, found: list) -> Result:
    neighbours, similarities, rows = map(list, zip(*found, strict=True))
    rounded = [round(one, 4) for one in similarities]
    return {"text": text, "neighbours": neighbours, "similarities": rounded, "rows": rows}


def _indented(result: Result) -> str:
    pairs = zip(result["similarities"], result["neighbours"], strict=True)
    return "\n".join([one_line(result["text"]), *(f"  {cosine:.3f}  {one_line(text)}" for cosine, text in pairs)])


def draw_map(parser: Parser):
    """Draw texts as points in a plane, near to each other where their z are.

    textvae map runs/chitchat --file mine.txt --output map.html

    An --output that ends in .html is a page that shows a text where one points; one that ends in .parquet a table with
    the columns `text`, `x`, `y` and, with --label_column, `label`, which colours the points:

    embedding-atlas map.parquet --text text --x x --y y

    The page, and --method umap, need `pip install 'textvae[map]'`. A page of more than some 50,000 texts is slow.
    """
    add_model(parser)
    add_texts(parser)
    add_flags(parser, Mapping)
    add_using(parser)
    _add_place(parser, "FILE", "write the map to this .html or .parquet file", "a file that is there")
    return _draw_map


def _draw_map(arguments: argparse.Namespace) -> None:
    from textvae.files import check_place
    from textvae.pipeline.text_map import check_ending

    using, mapping, place = settings_of(Using, arguments), settings_of(Mapping, arguments), Path(arguments.output)
    check_ending(place)
    check_place(place)
    if place.exists() and not arguments.overwrite:
        raise InputError(f"{place} exists: give another --output, or add --overwrite.")
    rows = list(read_texts(arguments))
    vae = open_model(arguments, using)
    options = options_of(using, rows) | {"progress": sys.stderr.isatty(), "seed": using.seed}
    if not vae.model.config.label_names and rows[0].label is not None:  # only a colour
        options |= {"label": None, "classes": [row.label for row in rows]}
    vae.map([row.text for row in rows], mapping.method, **options).save(place)


def _add_place(parser: Parser, kind: str, said: str, replaced: str) -> None:
    parser.add_argument("--output", metavar=kind, required=True, help=said)
    parser.add_argument("--overwrite", action="store_true", help=f"replace {replaced}")

"""Measure reconstruction by text length, for one or several models: a table and a plot.

python recipes/lengths.py runs/one runs/four --file held_out.txt --edges 5 10 20 40 80 160 --output lengths

Here texts of 5 to 9 words form one group, texts of 10 to 19 words the next, and so on; other texts are left out.
Writes OUTPUT.csv and OUTPUT.png.
"""

from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path

from datasets import Dataset

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.config_fields import COUNT, check_settings, setting
from textvae.data.corpora import load_texts
from textvae.data.words import word_count
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.table import as_csv, as_markdown
from textvae.files import check_place, whole_file, write_whole
from textvae.processes import say
from textvae.sweeps.compare import MARKERS, require_matplotlib

COLUMNS = ("model", "from_words", "to_words", "texts", "nats_per_token", "kl", "bleu", "exact_match")


@dataclass
class Settings:
    texts_per_group: int = setting(200, "maximum number of texts per group", COUNT)
    batch_size: int = setting(32, "texts in the model at a time", COUNT)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("models", nargs="+", help="directories that train.py wrote")
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--target_column", help="column of the target texts, decoded from the z of --text_column")
    parser.add_argument("--label_column", help="column of the labels, for a model with labels")
    parser.add_argument(
        "--edges", nargs="+", type=int, default=[1, 10, 20, 40, 80, 160, 320], help="limits of the groups, in words"
    )
    add_flags(parser, Settings)
    parser.add_argument("--output", default="lengths", help="path of the plot and the table, without .png and .csv")
    arguments = parser.parse_args()
    settings = settings_of(Settings, arguments)
    table_file, plot_file = (Path(f"{arguments.output}{ending}") for ending in (".csv", ".png"))
    check_place(table_file)
    check_place(plot_file)
    require_matplotlib()

    columns = arguments.text_column, arguments.target_column, arguments.label_column
    groups = group_by_length(load_texts(arguments.file, *columns), arguments.edges, settings.texts_per_group)
    rows = [row for model in arguments.models for row in measure(model, groups, settings.batch_size)]
    write_whole(table_file, as_csv([{name: row[name] for name in COLUMNS} for row in rows]))
    with whole_file(plot_file) as place:
        plot(rows).savefig(place, format="png", dpi=200)
    say(as_markdown(COLUMNS, [as_cells(row) for row in rows]))


def group_by_length(texts: Dataset, edges: list[int], at_most: int) -> dict[tuple[int, int], Dataset]:
    """The first `at_most` texts of each group, by its length in words: (from, to), both included.

    Raises:
        InputError: if the edges do not increase, or no group has two texts.
    """
    if len(edges) < 2 or any(start >= end for start, end in pairwise(edges)):
        raise InputError(f"--edges {' '.join(map(str, edges))} must be two or more increasing numbers.")
    counts = [word_count(text) for text in texts["text"]]
    rows = {}
    for start, end in pairwise(edges):
        rows[start, end - 1] = [row for row, count in enumerate(counts) if start <= count < end]
    groups = {ends: texts.select(found[:at_most]) for ends, found in rows.items() if len(found) > 1}
    if not groups:
        raise InputError("No group has two texts: give other --edges, or more texts.")
    return groups


def measure(model: str, groups: dict[tuple[int, int], Dataset], batch_size: int) -> list[dict]:
    pipeline = TextVAEPipeline.from_pretrained(model)
    if pipeline.model.config.label_names and "label" not in next(iter(groups.values())).column_names:
        raise InputError(f"{model} has labels: add --label_column.")
    rows = []
    for (start, end), texts in groups.items():
        few = EvaluationConfig(1, num_importance_texts=1, num_prior_samples=1, batch_size=batch_size)
        report = pipeline.evaluate(texts, few)
        nats_per_token = report["reconstruction"] * len(texts) / report["num_tokens"]
        values = {"model": model, "from_words": start, "to_words": end, "texts": len(texts)}
        values |= {name: report[name] for name in ("kl", "bleu", "exact_match")}
        rows.append(values | {"nats_per_token": nats_per_token})
    return rows


def as_cells(row: dict) -> list[str]:
    return [f"{row[name]:,.2f}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS]


def plot(rows: list[dict]):
    """A `matplotlib.figure.Figure` of BLEU and of nats per token by length, with a line per model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    titles = {"bleu": "BLEU of the reconstruction", "nats_per_token": "−log p(x|z), nats per token"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for marker, model in zip(cycle(MARKERS), dict.fromkeys(row["model"] for row in rows), strict=False):
            own = [row for row in rows if row["model"] == model]
            middle = [(row["from_words"] + row["to_words"]) / 2 for row in own]
            axes.plot(middle, [row[name] for row in own], marker=marker, label=model)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("words of a text")
        axes.set_title(title, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    run(main)

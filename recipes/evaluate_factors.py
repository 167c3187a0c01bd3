"""Measure what the dimensions of z say of known factors of the texts. Prints a table.

python recipes/evaluate_factors.py

Without arguments it trains the models of configs/grammar.yaml on sentences of a generated grammar, whose factors are
known; `--sweep_file` names another sweep file. After an interruption the same command resumes.

python recipes/evaluate_factors.py runs/mine --train_file train.csv --test_file test.csv --factors topic tense

Each factor has a column in both files. Its value is the accuracy of a linear probe of z; MIG, DCI and SAP say whether
each dimension stands for one factor (see textvae.evaluation.disentanglement). A model with labels has a second row: z
less the mean of p(z|c), the part of it that does not follow from the label.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser
from textvae.cli.main import run
from textvae.data.corpora import load_texts
from textvae.errors import InputError, require_scikit_learn
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.disentanglement import TITLES, measure_factors
from textvae.evaluation.grammar import FACTORS, sentences
from textvae.evaluation.table import as_csv, as_markdown
from textvae.files import check_place, write_whole
from textvae.processes import say
from textvae.sweeps import read_sweep
from textvae.sweeps.compare import require_matplotlib
from textvae.sweeps.run import run_all

SWEEP = Path(__file__).parent / "configs" / "grammar.yaml"
HELD_OUT = 0.2  # of the grammar's sentences
FEW = EvaluationConfig(1, num_importance_texts=1, num_prior_samples=1)
REPORTED = {"kl": "KL", "negative_elbo": "−ELBO", "exact_match": "exact"}


class Model(NamedTuple):
    name: str
    directory: Path
    label_column: str | None


class Texts(NamedTuple):
    """The texts of a file, and each factor's values."""

    texts: list[str]
    factors: dict[str, list[str]]


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("models", nargs="*", help="directories that train.py wrote")
    parser.add_argument("--train_file", nargs="+", action="extend", help=f"texts that probes learn from. {FILE_HELP}")
    parser.add_argument("--test_file", nargs="+", action="extend", help=f"texts that they tell. {FILE_HELP}")
    parser.add_argument("--text_column", default="text")
    parser.add_argument(
        "--factors", nargs="+", action="extend", help="columns of the factors; of the grammar all if not given"
    )
    parser.add_argument("--label_column", help="column of the labels, for models with labels")
    parser.add_argument("--sweep_file", default=str(SWEEP), help="without models: the sweep file to train")
    parser.add_argument("--output_dir", help="without models: in place of the output_dir of that file")
    parser.add_argument("--num_texts", type=int, default=1000, help="use only the first so many texts of each file")
    parser.add_argument("--output", help="write the values of each model to this CSV file, too")
    arguments = parser.parse_args()
    require_scikit_learn("A measure of factors")
    if arguments.output:
        check_place(Path(arguments.output))
    if arguments.models:
        models, files, factors = *given(arguments), arguments.factors
    else:
        models, files = of_the_grammar(arguments.sweep_file, arguments.output_dir)
        factors = arguments.factors or list(FACTORS)
    train, test = (read(file, arguments.text_column, factors, arguments.num_texts) for file in files)
    rows = [row for model in models for row in measure(model, train, test)]
    if arguments.output:
        write_whole(Path(arguments.output), as_csv(rows))
    say(as_table(rows))


def given(arguments: argparse.Namespace) -> tuple[list[Model], list]:
    if not (arguments.train_file and arguments.test_file and arguments.factors):
        raise InputError("The factors of these models' texts are not known: give --train_file, --test_file, --factors.")
    models = [Model(name, Path(name), arguments.label_column) for name in arguments.models]
    return models, [arguments.train_file, arguments.test_file]


def of_the_grammar(sweep_file: str, output_dir: str | None) -> tuple[list[Model], list[str]]:
    """Write the sentences and train what is not finished; the models, and both files."""
    require_matplotlib()
    place = read_sweep(sweep_file, {"output_dir": output_dir} if output_dir else {}).output_dir
    place.mkdir(parents=True, exist_ok=True)
    files, rows = [str(place / "train.csv"), str(place / "test.csv")], sentences()
    held_out = round(HELD_OUT * len(rows))
    for file, part in zip(files, (rows[held_out:], rows[:held_out]), strict=True):
        write_whole(Path(file), as_csv(part))
    sweep = read_sweep(sweep_file, {"output_dir": str(place), "train_file": [files[0]], "validation_file": [files[1]]})
    if run_all(sweep, sweep.runs, None, f"python recipes/evaluate_factors.py --sweep_file {sweep_file}"):
        sys.exit(1)
    models = [Model(one.name, one.directory, one.config.label_column) for one in sweep.runs]
    return models, files


def read(file: list[str] | str, text_column: str, factors: list[str], at_most: int) -> Texts:
    """Raises InputError if a row lacks a factor."""
    found = {name: load_texts(file, text_column, label_column=name) for name in factors}
    first = found[factors[0]]["text"][:]
    for name, texts in found.items():
        if texts["text"][:] != first:
            raise InputError(f"Some rows have no {name}: give files in which each text has all its factors.")
    return Texts(first[:at_most], {name: texts["label"][:at_most] for name, texts in found.items()})


def measure(model: Model, train: Texts, test: Texts) -> Iterator[dict]:
    """A row of values for z, and for a model with labels one for z less the mean of p(z|c)."""
    vae = TextVAEPipeline.from_pretrained(model.directory)
    names = vae.model.config.label_names
    if names and model.label_column not in test.factors:
        raise InputError(f"{model.name} has labels: give a --label_column that is one of the factors.")
    labels = [part.factors[str(model.label_column)] if names else None for part in (train, test)]
    codes = [
        vae.encode(part.texts, label=label, progress=False).numpy()
        for part, label in zip((train, test), labels, strict=True)
    ]
    columns = {"text": test.texts} | ({"label": labels[1]} if names else {})
    report = vae.evaluate(Dataset.from_dict(columns), FEW)
    reported = {name: report[name] for name in REPORTED}
    yield {"model": model.name, **measure_factors(codes[0], train.factors, codes[1], test.factors), **reported}
    if names:
        codes = [code - prior_means(vae, label) for code, label in zip(codes, labels, strict=True)]
        values = measure_factors(codes[0], train.factors, codes[1], test.factors)
        yield {"model": f"{model.name}, less the mean of p(z∣c)", **values, **reported}


def prior_means(vae: TextVAEPipeline, labels: list[str] | None) -> np.ndarray:
    """(N, Z)"""
    ids = torch.tensor([vae.model.config.label_names.index(label) for label in labels or []])
    with torch.no_grad():
        return vae.model.prior_parameters(ids.to(vae.device))[0].cpu().numpy()


def as_table(rows: list[dict]) -> str:
    """A row for each name: the mean over its models, and half their range if there are several."""
    values = [name for name in rows[0] if name != "model"]
    titles = ["model", *((TITLES | REPORTED).get(name, name) for name in values)]
    shown = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        shown.append([model, *(as_cell([row[name] for row in own], name) for name in values)])
    return as_markdown(titles, shown, right=True)


def as_cell(values: list[float], name: str) -> str:
    digits = 2 if name in ("kl", "negative_elbo") else 3
    spread = f" ± {(max(values) - min(values)) / 2:.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    run(main)

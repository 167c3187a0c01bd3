"""Measure the molecules that models write from their prior, as MOSES does, beside real ones. Prints a table.

python recipes/evaluate_molecules.py runs/molecules --test_file data/moses/test.txt --priors gaussian standard
python recipes/evaluate_molecules.py runs/molecules --test_file data/moses/test.txt --writing greedy --chemnet true

The first row is of molecules of MOSES' training set, none of which is novel. Another row is a prior, a temperature of z
and a way to write: `beams` (4), `greedy`, or `drawn` (each token is drawn). `textvae.evaluation.molecules` explains the
columns.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.cli.rows import Rows, add_rows
from textvae.config_fields import COUNT, SEED, check_settings, setting
from textvae.data.corpora import load_texts
from textvae.data.moses import load_moses, load_moses_chemnet, load_moses_filters
from textvae.evaluation.molecules import (
    Filters,
    as_smiles,
    canonical,
    chemnet_distance,
    fingerprints,
    measure_molecules,
    parse,
    parse_all,
    require,
)

WRITING: dict[str, dict[str, Any]] = {
    "beams": {"num_beams": 4},
    "greedy": {"num_beams": 1},
    "drawn": {"num_beams": 1, "do_sample": True},
}


@dataclass
class Settings:
    num_samples: int = setting(10_000, "molecules to write for each row", COUNT)
    batch_size: int = setting(250, "molecules in the model at a time", COUNT)
    chemnet: bool = setting(False, "also measure the distance to MOSES' test set in ChemNet (FCD)")
    seed: int = setting(0, "random seed of the samples", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("models", nargs="+", help="directories that train.py wrote")
    parser.add_argument("--test_file", nargs="+", action="extend", required=True, help=f"real molecules: {FILE_HELP}")
    parser.add_argument("--priors", nargs="+", default=["gaussian"], choices=["gaussian", "standard"])
    parser.add_argument("--temperatures", nargs="+", type=float, default=[1.0])
    parser.add_argument("--writing", nargs="+", default=["beams"], choices=list(WRITING))
    add_flags(parser, Settings)
    add_rows(parser)
    arguments = parser.parse_args()
    settings = settings_of(Settings, arguments)
    require("rdkit", "The measure of molecules")
    rows = Rows(arguments.output)
    vaes = [(Path(model).name, TextVAEPipeline.from_pretrained(model)) for model in arguments.models]
    reference = fingerprints(parse_all(as_smiles(load_texts(arguments.test_file)["text"][:])))
    known, filters = load_moses("train"), Filters(load_moses_filters())
    training, real = {*known}, random.Random(settings.seed).sample(known, min(len(known), settings.num_samples))

    ways = itertools.product(vaes, arguments.priors, arguments.temperatures, arguments.writing)
    for name, texts in itertools.chain([("training molecules", real)], by_models(ways, settings)):
        values = measure_molecules(texts, training, reference, filters)
        if settings.chemnet:
            valid = [molecule for molecule in parse(texts) if molecule is not None]
            values["fcd"] = chemnet_distance(canonical(valid), *load_moses_chemnet())
        rows.add({"sample": name, **values})


def by_models(ways: Iterator[tuple], settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """The name and the SMILES of each way."""
    for (name, vae), prior, temperature, writing in ways:
        options = {"seed": settings.seed, "batch_size": settings.batch_size, **WRITING[writing]}
        texts = vae.sample(settings.num_samples, temperature, prior=prior, **options)
        yield f"{name}: {prior}, {temperature:g}, {writing}", as_smiles(cast("list[str]", texts))


if __name__ == "__main__":
    run(main)

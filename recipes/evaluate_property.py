"""Move molecules along a direction of z for a property: how far it moves, how many molecules are left. Prints a table.

python recipes/evaluate_property.py runs/molecules --property logp --train_file data/moses/train.txt \\
    --file data/moses/test.txt

The direction is fitted to the training molecules with the highest and the lowest third of the property. Each molecule
of --file is written with its z moved; the columns are explained in `textvae.evaluation.molecules.measure_moves`. Beside
it, what needs no model: for each molecule the most similar one of those of training whose property is higher by as much
as a strength has moved it on average.
"""

from dataclasses import dataclass
from typing import cast

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.cli.rows import Rows, add_rows
from textvae.config_fields import COUNT, SEED, check_settings, setting
from textvae.data.corpora import load_texts
from textvae.errors import InputError
from textvae.evaluation.molecules import as_smiles, canonical, measure_moves, nearest_higher, parse_all, property_of
from textvae.latents.directions import METHODS


@dataclass
class Settings:
    num_texts: int = setting(1_000, "molecules of --file to move", COUNT)
    num_direction_texts: int = setting(15_000, "molecules of --train_file, of whose thirds the direction is", COUNT)
    num_beams: int = setting(4, "beams of the search for a molecule", COUNT)
    seed: int = setting(0, "random seed of the molecules that are chosen", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("model", help="a directory that train.py wrote")
    for name in ("file", "train_file"):
        parser.add_argument(f"--{name}", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--property", default="logp", choices=["logp", "qed"])
    parser.add_argument("--strengths", nargs="+", type=float, default=[0, 0.5, 1, 1.5, 2, 3])
    parser.add_argument("--methods", nargs="+", default=["mean"], choices=METHODS)
    add_flags(parser, Settings)
    add_rows(parser)
    arguments = parser.parse_args()
    settings, value = settings_of(Settings, arguments), property_of(arguments.property)
    rows = Rows(arguments.output)
    vae = TextVAEPipeline.from_pretrained(arguments.model)
    texts = some_of(arguments.file, settings.num_texts, settings.seed)
    known = some_of(arguments.train_file, settings.num_direction_texts, settings.seed)
    if len(known) < 3:
        raise InputError("--train_file has no thirds: give three molecules or more.")
    sources, molecules = (parse_all(as_smiles(some)) for some in (texts, known))
    order, third = sorted(range(len(known)), key=lambda row: value(molecules[row])), len(known) // 3
    low, high = ([known[row] for row in rows] for rows in (order[:third], order[-third:]))
    changes = []
    for method in arguments.methods:
        vae.fit_direction(arguments.property, high, low, method=method)
        for strength in arguments.strengths:
            moved = vae.edit(texts, arguments.property, strength, num_beams=settings.num_beams)
            values = measure_moves(sources, as_smiles(cast("list[str]", moved)), value)
            changes.append(values["change"])
            rows.add({"way": f"{method}, strength {strength:g}", **values})
    for by in sorted(change for change in changes if change > 0):
        found = nearest_higher(sources, molecules, value, by)
        values = measure_moves(sources, canonical(found), value)
        rows.add({"way": f"nearest of training, higher by {by:.2f}", **values})


def some_of(files: list[str], number: int, seed: int) -> list[str]:
    """At most so many texts, in random order."""
    return load_texts(files).shuffle(seed, keep_in_memory=True)["text"][:number]


if __name__ == "__main__":
    run(main)

"""Draw molecules, a line of standard input or an argument each, as one picture.

textvae interpolate runs/molecules "CC(=O)Oc1ccccc1C(=O)O" "CC(=O)Nc1ccc(O)cc1" \\
    | python recipes/draw_molecules.py walk.png

SMILES or SELFIES. Below each molecule stands its SMILES; a text that is no molecule leaves its place empty.
"""

import argparse
import sys
from pathlib import Path

from textvae.cli.arguments import Parser
from textvae.cli.main import run
from textvae.errors import InputError
from textvae.evaluation.molecules import as_smiles, parse
from textvae.files import check_place, whole_file

COLUMNS, SIZE = 4, (300, 220)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="the picture to write, .png")
    parser.add_argument("texts", nargs="*", help="molecules; without any, the lines of standard input")
    arguments = parser.parse_args()
    output = Path(arguments.output)
    check_place(output)
    texts = arguments.texts or [line.strip() for line in sys.stdin if line.strip()]
    if not texts:
        raise InputError("There are no molecules to draw: give some.")
    picture = drawn(as_smiles(texts))
    with whole_file(output) as place:
        place.write_bytes(picture)


def drawn(smiles: list[str]) -> bytes:
    """A PNG with a molecule in each place."""
    molecules = parse(smiles)
    from rdkit.Chem import Draw, MolFromSmiles

    shown = [MolFromSmiles("") if molecule is None else molecule for molecule in molecules]
    return Draw.MolsToGridImage(shown, COLUMNS, SIZE, smiles, returnPNG=True)


if __name__ == "__main__":
    run(main)

"""Write molecules of MOSES as texts, one a line: train.txt, valid.txt, test.txt.

pip install --no-deps molsets==0.3.1
python recipes/moses.py data/moses                                  # SMILES
python recipes/moses.py data/selfies --selfies                      # SELFIES, for --tokenizer word

MOSES (Polykovskiy et al. 2020) has 1.6 million molecules of the size of drugs. Those of train.txt and valid.txt are a
seeded part of its training set; test.txt is of its test set. A SELFIES (Krenn et al. 2020) is written with a space
between its symbols, so that each is a word: whatever words a model writes, they are a molecule.
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

from textvae.cli.arguments import Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.config_fields import COUNT, SEED, check_settings, setting
from textvae.data.moses import load_moses
from textvae.errors import InputError
from textvae.evaluation.molecules import as_selfies
from textvae.files import whole_files
from textvae.processes import say


@dataclass
class Settings:
    num_train: int = setting(200_000, "molecules of train.txt", COUNT)
    num_valid: int = setting(5_000, "molecules of valid.txt", COUNT)
    num_test: int = setting(176_074, "molecules of test.txt", COUNT)
    selfies: bool = setting(False, "write SELFIES in place of SMILES")
    seed: int = setting(0, "of the choice", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="the directory to write into")
    add_flags(parser, Settings)
    arguments = parser.parse_args()
    settings, output = settings_of(Settings, arguments), Path(arguments.directory)
    if output.exists():
        raise InputError(f"{output} exists already: remove it, or name another directory.")
    choice, write = random.Random(settings.seed), as_selfies if settings.selfies else list
    known = choice.sample(train := load_moses("train"), min(len(train), settings.num_train + settings.num_valid))
    test = load_moses("test")
    parts = {
        "valid": known[: settings.num_valid],
        "train": known[settings.num_valid :],
        "test": choice.sample(test, min(len(test), settings.num_test)),
    }
    with whole_files(output) as place:
        for name, smiles in parts.items():
            (place / f"{name}.txt").write_text("".join(f"{text}\n" for text in write(smiles)))
    say(f"Wrote {', '.join(f'{len(smiles):,} molecules to {output / name}.txt' for name, smiles in parts.items())}.")


if __name__ == "__main__":
    run(main)

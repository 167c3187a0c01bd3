"""Interpolate between two sentences.

python recipes/interpolate.py runs/chitchat "I love music." "Where do you come from?" --num_steps 9 --path spherical
"""

import argparse
from typing import cast

from textvae import TextVAEPipeline
from textvae.cli.main import run
from textvae.processes import say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory that train.py wrote")
    parser.add_argument("start")
    parser.add_argument("end")
    parser.add_argument("--num_steps", type=int, default=7, help="number of sentences, both ends included")
    parser.add_argument("--path", choices=["linear", "spherical"], default="linear")
    parser.add_argument("--num_beams", type=int, default=1)
    parser.add_argument("--label", help="label of both sentences, for a model with labels")
    arguments = parser.parse_args()
    pipeline = TextVAEPipeline.from_pretrained(arguments.model)
    options = {"label": arguments.label, "num_beams": arguments.num_beams}
    steps = pipeline.interpolate(arguments.start, arguments.end, arguments.num_steps, arguments.path, **options)
    say("\n".join(cast("list[str]", steps)))


if __name__ == "__main__":
    run(main)

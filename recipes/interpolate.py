"""Interpolate between two sentences.

python recipes/interpolate.py runs/chitchat "I love music." "Where do you come from?" --num_steps 9 --path spherical
"""

import argparse
from dataclasses import asdict, dataclass
from typing import Literal, cast

from textvae import TextVAEPipeline
from textvae.cli.arguments import add_flags
from textvae.cli.main import run
from textvae.config_fields import COUNT, Range, check_settings, setting
from textvae.processes import say


@dataclass
class Settings:
    num_steps: int = setting(
        7, "number of sentences, both ends included", Range("at least 2", lambda value: value >= 2)
    )
    path: Literal["linear", "spherical"] = setting("linear", "the path from one z to the other")
    num_beams: int = setting(1, "beams of the search for a sentence", COUNT)
    label: str | None = setting(None, "label of both sentences, for a model with labels")

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory that train.py wrote")
    parser.add_argument("start")
    parser.add_argument("end")
    add_flags(parser, Settings)
    flags = vars(parser.parse_args())
    model, start, end = (flags.pop(name) for name in ("model", "start", "end"))
    settings = Settings(**flags)
    pipeline = TextVAEPipeline.from_pretrained(model)
    say("\n".join(cast("list[str]", pipeline.interpolate(start, end, **asdict(settings)))))


if __name__ == "__main__":
    run(main)

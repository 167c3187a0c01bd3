"""Paraphrase sentences: texts decoded from samples of each posterior, the nearest first.

python recipes/paraphrase.py runs/chitchat "I love listening to music at night." --num_return_sequences 5
python recipes/paraphrase.py runs/chitchat --file mine.txt
"""

import argparse
from dataclasses import asdict, dataclass

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, add_flags
from textvae.cli.main import run
from textvae.config_fields import COUNT, NOT_NEGATIVE, SEED, check_settings, setting
from textvae.data.corpora import load_texts
from textvae.errors import InputError
from textvae.processes import say


@dataclass
class Settings:
    num_return_sequences: int = setting(5, "maximum number of paraphrases of a text", COUNT)
    temperature: float = setting(1.0, "of z; a higher one gives texts that are farther away", NOT_NEGATIVE)
    seed: int = setting(0, "random seed", SEED)
    label: str | None = setting(None, "label of all texts, for a model with labels")

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory that train.py wrote")
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--file", nargs="+", action="extend", help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    add_flags(parser, Settings)
    flags = vars(parser.parse_args())
    model, texts, file, column = (flags.pop(name) for name in ("model", "texts", "file", "text_column"))
    settings = Settings(**flags)
    texts += load_texts(file, column)["text"][:] if file else []
    if not texts:
        raise InputError("There is nothing to paraphrase: give texts or --file.")
    pipeline = TextVAEPipeline.from_pretrained(model)
    found = pipeline.paraphrase(texts, **asdict(settings))
    for text, paraphrases in zip(texts, found, strict=True):
        say("\n".join([text, *(f"  {paraphrase}" for paraphrase in paraphrases)]))


if __name__ == "__main__":
    run(main)

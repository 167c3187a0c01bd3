"""Paraphrase sentences: texts decoded from samples of each posterior, the nearest first.

python recipes/paraphrase.py runs/chitchat "I love listening to music at night." --num_return_sequences 5
python recipes/paraphrase.py runs/chitchat --file mine.txt
"""

import argparse

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP
from textvae.cli.main import run
from textvae.data.corpora import load_texts
from textvae.errors import InputError
from textvae.processes import say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory that train.py wrote")
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--file", nargs="+", action="extend", help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--num_return_sequences", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label", help="label of all texts, for a model with labels")
    arguments = parser.parse_args()
    texts = arguments.texts + (load_texts(arguments.file, arguments.text_column)["text"][:] if arguments.file else [])
    if not texts:
        raise InputError("There is nothing to paraphrase: give texts or --file.")
    pipeline = TextVAEPipeline.from_pretrained(arguments.model)
    options = {"temperature": arguments.temperature, "seed": arguments.seed, "label": arguments.label}
    found = pipeline.paraphrase(texts, arguments.num_return_sequences, **options)
    for text, paraphrases in zip(texts, found, strict=True):
        say("\n".join([text, *(f"  {paraphrase}" for paraphrase in paraphrases)]))


if __name__ == "__main__":
    run(main)

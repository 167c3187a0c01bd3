"""Measure how well a model cleans noisy texts: words that are lost, masked, replaced, out of order, and mistyped.

python recipes/evaluate_denoise.py runs/denoise --file test.txt --train_file train.txt --output denoise.csv

Noise is made in the texts of --file. Beside the model stand the noisy text as it is, a trigram model of --train_file
that repairs with the same costs, and for typing errors, if symspellpy is installed, a spelling corrector.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.cli.rows import Rows, add_rows
from textvae.config_fields import COUNT, SEED, check_settings, setting
from textvae.data.corpora import load_texts
from textvae.data.edit_costs import COSTS
from textvae.evaluation.denoising import NOISES, make_noisy, measure_denoising
from textvae.evaluation.spelling_corrector import SpellingCorrector, has_symspell
from textvae.evaluation.trigram_cleaner import TrigramCleaner
from textvae.evaluation.trigrams import Trigrams

logger = logging.getLogger(__name__)


@dataclass
class Settings:
    num_texts: int = setting(100, "texts of --file to make noisy", COUNT)
    seed: int = setting(0, "random seed of the texts that are chosen and of their noise", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("model", help="a directory that train.py wrote")
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--train_file", nargs="+", action="extend", required=True, help="of the trigram model")
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--closeness", nargs="+", type=float, default=[1.0, 2.0], help="of model and trigrams")
    parser.add_argument("--kinds", nargs="+", choices=NOISES, default=[*NOISES], help="of noise")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.15, 0.3], help="of the words that are noisy")
    add_flags(parser, Settings)
    add_rows(parser)
    arguments = parser.parse_args()
    settings = settings_of(Settings, arguments)
    rows = Rows(arguments.output, {"share": 2, "bleu": 1, "exact": 2})

    vae = TextVAEPipeline.from_pretrained(arguments.model)
    texts, train = (
        load_texts(files, arguments.text_column)["text"][:] for files in (arguments.file, arguments.train_file)
    )
    chosen = np.random.default_rng(settings.seed).permutation(len(texts))[: settings.num_texts]
    clean = [" ".join(texts[i].split()) for i in chosen]
    words = [word for text in train for word in text.split()]
    cleaner, corrector = TrigramCleaner(Trigrams(train)), spelling_corrector()
    for kind in arguments.kinds:
        for share in arguments.shares:
            noisy = make_noisy(clean, kind, share, words, np.random.default_rng(settings.seed))
            about = {"noise": kind, "share": share}
            for name, written in ways(vae, cleaner, corrector if kind == "typos" else None, noisy, arguments.closeness):
                rows.add({**about, "way": name, **measure_denoising(written, clean)})


def spelling_corrector() -> SpellingCorrector | None:
    if has_symspell():
        return SpellingCorrector()
    logger.warning("There is no row of a spelling corrector without symspellpy: pip install 'textvae[recipes]'.")
    return None


def ways(
    vae: TextVAEPipeline,
    cleaner: TrigramCleaner,
    corrector: SpellingCorrector | None,
    noisy: list[str],
    closeness: list[float],
) -> Iterator[tuple[str, list[str]]]:
    """The name of each way and what it makes of the noisy texts."""
    yield "as it is", noisy
    if corrector is not None:
        yield "spelling corrector", [corrector.correct(text) for text in noisy]
    for weight in closeness:
        cleaner.costs = COSTS.times(weight)
        yield f"trigrams, closeness {weight:g}", [cleaner.clean(text) for text in noisy]
    for weight in closeness:
        yield f"denoise, closeness {weight:g}", vae.denoise(noisy, weight)  # pyright: ignore[reportReturnType]


if __name__ == "__main__":
    run(main)

"""Measure texts that are written for draws of each prior, beside real texts and draws of their posteriors.

python recipes/evaluate_samples.py runs/chitchat --train_file train.txt --file valid.txt --judge weights/smollm2 \\
    --judge_encoder weights/minilm --output samples.csv

A prior that is saved with the model is taken as it is, and one that is not is fitted to --train_file. The first texts
of --file, as many as there are samples, give the last two rows: what is written for draws of q(z|x), which no prior can
do better than, and the texts themselves. Samples are compared with as many others, and z are those of all others. The
first texts of each row are printed, too.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.config_fields import COUNT, NOT_NEGATIVE, SEED, check_settings, same_setting, setting
from textvae.data.corpora import load_texts
from textvae.data.words import bare_words
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.judges import open_judges
from textvae.evaluation.quality import BEAMS
from textvae.evaluation.samples import SampleMeasures, sample_table
from textvae.evaluation.table import as_csv
from textvae.files import check_place, write_whole
from textvae.latents import GaussianPrior, Prior
from textvae.pipeline.priors import KINDS, PRIORS, STANDARD, check_kind
from textvae.processes import say

POSTERIOR, REAL = "q(z∣x) of held-out texts", "real texts"


@dataclass
class Settings:
    num_samples: int = setting(1000, "texts from each prior; no more than half of --file", COUNT)
    num_prior_texts: int = setting(
        10_000, "texts of --train_file that priors are fitted to, and whose words trigrams know", COUNT
    )
    temperature: float = setting(1.0, "of z", NOT_NEGATIVE)
    num_shown: int = setting(8, "samples of each prior that are printed", NOT_NEGATIVE)
    judge: str | None = same_setting(EvaluationConfig, "judge")
    judge_encoder: str | None = setting(None, "a sentence encoder, by path or Hub name, for MAUVE")
    seed: int = setting(0, "random seed of texts, priors and samples", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("model", help="a directory that train.py wrote, of a model without labels")
    for name in ("train_file", "file"):
        parser.add_argument(f"--{name}", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--priors", nargs="+", default=[STANDARD, *KINDS], help=f"of {', '.join(PRIORS)}")
    add_flags(parser, Settings)
    parser.add_argument("--output", help="write the rows to this CSV file, too")
    arguments = parser.parse_args()
    settings = settings_of(Settings, arguments)
    for name in arguments.priors:
        if name != STANDARD:
            check_kind(name)
    if arguments.output:
        check_place(Path(arguments.output))

    vae = TextVAEPipeline.from_pretrained(arguments.model)
    if vae.model.config.label_names:
        raise InputError("This recipe measures models without labels: give another one.")
    train, held_out = (
        load_texts(vars(arguments)[name], arguments.text_column).shuffle(settings.seed, keep_in_memory=True)["text"][:]
        for name in ("train_file", "file")
    )
    number = min(settings.num_samples, len(held_out) // 2)
    others, held_out = held_out[:number], held_out[number:]
    train = train[: settings.num_prior_texts]
    judges = open_judges(settings.judge, settings.judge_encoder, torch.device("cpu"))
    measures = SampleMeasures(
        held_out[:number], {word for text in train for word in bare_words(text)}, judges, settings.seed
    )
    rows = {}
    for name, found, texts in ways(vae, arguments.priors, train, held_out, others, settings):
        rows[name] = found | measures.of(texts)
        say("\n".join([sample_table({name: rows[name]}), *texts[: settings.num_shown], ""]))
    say(sample_table(rows))
    if arguments.output:
        write_whole(Path(arguments.output), as_csv([{"prior": name, **row} for name, row in rows.items()]))


def ways(
    vae: TextVAEPipeline,
    priors: list[str],
    train: list[str],
    held_out: list[str],
    others: list[str],
    settings: Settings,
) -> Iterator[tuple[str, dict[str, float], list[str]]]:
    """Name, nats of held-out z and texts of each prior, and of what they are compared with."""
    seed = settings.seed
    z = cast(torch.Tensor, vae.encode(held_out, sample=True, seed=seed))
    for name in priors:
        if name not in (STANDARD, *vae.priors):
            started = time.monotonic()
            vae.fit_prior(train, name, seed)
            say(f"{name}: fitted in {time.monotonic() - started:.0f} s")
        prior: Prior = standard(z.shape[1]) if name == STANDARD else vae.priors[name]
        nats = -float(prior.log_density(z).double().mean())
        drawn = vae.sample(len(others), settings.temperature, seed=seed, prior=name)
        yield name, {"latent_nats": nats}, cast("list[str]", drawn)
    z = cast(torch.Tensor, vae.encode(others, sample=True, seed=seed))
    yield POSTERIOR, {}, cast("list[str]", vae.decode(z, num_beams=BEAMS))
    yield REAL, {}, others


def standard(size: int) -> GaussianPrior:
    return GaussianPrior(torch.zeros(1, size), torch.eye(size).unsqueeze(0))


if __name__ == "__main__":
    run(main)

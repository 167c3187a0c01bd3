"""Measure edits of an attribute, such as sentiment: how many flip a classifier's verdict, and what is left of the text.

python recipes/evaluate_edit.py runs/reviews --file test.csv --train_file train.csv --classifier_file others.csv \\
    --label_column sentiment --judge weights/smollm2 --judge_encoder weights/minilm --output edits.csv

A held-out classifier (TF-IDF and logistic regression) is fitted to --classifier_file. Directions are fitted to
--train_file, and so are two ways to edit without a model: a list of polar words, each swapped for the most similar one
of the other class (needs --judge_encoder), and the nearest sentence of the other class. A model with labels writes with
the other label. Each text of --file that the classifier judges rightly is moved to the other of the two labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from datasets import Dataset

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser, add_flags, settings_of
from textvae.cli.main import run
from textvae.cli.rows import Rows, add_rows
from textvae.config_fields import COUNT, SEED, check_settings, same_setting, setting
from textvae.data.corpora import load_texts
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.edits import AttributeClassifier, NearestSentence, WordList, check_two, measure_edits
from textvae.evaluation.judges import Judges, open_judges
from textvae.latents.directions import METHODS
from textvae.processes import say

FILES = ("file", "train_file", "classifier_file")


@dataclass
class Settings:
    num_texts: int = setting(400, "texts of --file to edit, half of each label", COUNT)
    num_direction_texts: int = setting(10_000, "texts of --train_file that directions are fitted to", COUNT)
    num_candidates: int = setting(8, "texts written for each z; the one that is read back nearest is kept", COUNT)
    judge: str | None = same_setting(EvaluationConfig, "judge")
    judge_encoder: str | None = setting(None, "a sentence encoder, by path or Hub name, for words and for similarity")
    seed: int = setting(0, "random seed of the texts that are chosen", SEED)

    def __post_init__(self):
        check_settings(self)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("models", nargs="+", help="directories that train.py wrote")
    for name in FILES:
        parser.add_argument(f"--{name}", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--label_column", default="label", help="column of the two labels")
    parser.add_argument("--strengths", nargs="+", type=float, default=[1.0, 1.5, 2.0, 3.0], help="of the directions")
    add_flags(parser, Settings)
    add_rows(parser)
    arguments = parser.parse_args()
    settings = settings_of(Settings, arguments)
    rows = Rows(arguments.output, {"bleu": 1, "fluency": 2})

    vaes = [(Path(model).name, TextVAEPipeline.from_pretrained(model)) for model in arguments.models]
    judges = open_judges(settings.judge, settings.judge_encoder, torch.device("cpu"))
    columns = arguments.text_column, None, arguments.label_column
    test, train, others = (load_texts(vars(arguments)[name], *columns) for name in FILES)
    names = check_two(train["label"][:])
    if check_two(others["label"][:]) != names:
        raise InputError("--train_file and --classifier_file have other labels: give files with the same two.")
    classifier = fit_classifier(others, {*test["text"][:], *train["text"][:]})
    say(f"The classifier is right on {classifier.share(test['text'][:], test['label'][:]):.3f} of {len(test):,} texts.")
    test = some_of_each(right_ones(test, classifier), names, settings.num_texts, settings.seed)
    sources, labels = test["text"][:], test["label"][:]
    targets = [names[1 - names.index(label)] for label in labels]
    some = some_of_each(train, names, settings.num_direction_texts, settings.seed)
    given = some, sources, labels, targets, arguments.strengths, settings.num_candidates
    of_models = chain.from_iterable(by_model(name, vae, *given) for name, vae in vaes)
    for name, edited in chain(without_model(train, sources, targets, judges), of_models):
        rows.add({"edit": name, **measure_edits(sources, edited, targets, classifier, judges)})


def fit_classifier(others: Dataset, used: set[str]) -> AttributeClassifier:
    """Fitted to the texts that neither the models nor the test use."""
    rows = [row for row, text in enumerate(others["text"][:]) if text not in used]
    if not rows:
        raise InputError("--classifier_file holds no texts but those of --file and --train_file: give others.")
    own = others.select(rows)
    return AttributeClassifier(own["text"][:], own["label"][:])


def right_ones(test: Dataset, classifier: AttributeClassifier) -> Dataset:
    verdicts = classifier.verdicts(test["text"][:])
    return test.select([row for row, label in enumerate(test["label"][:]) if verdicts[row] == label])


def some_of_each(texts: Dataset, names: list[str], number: int, seed: int) -> Dataset:
    """At most `number` texts, half of each label."""
    shuffled = texts.shuffle(seed, keep_in_memory=True)
    labels = shuffled["label"][:]
    rows = [[row for row, label in enumerate(labels) if label == name][: number // 2] for name in names]
    if not all(rows):
        raise InputError("There are no texts of one label to edit: give others, or a larger --num_texts.")
    return shuffled.select(sum(rows, []))


def without_model(
    train: Dataset, sources: list[str], targets: list[str], judges: Judges
) -> Iterator[tuple[str, list[str]]]:
    """What a user would do instead: the name and the edits of each way."""
    texts, labels = train["text"][:], train["label"][:]
    yield "none", sources
    if judges.encoder is not None:
        yield "word list", WordList(texts, labels, judges.encoder).edit(sources, targets)
    yield "nearest sentence", NearestSentence(texts, labels).edit(sources, targets)


def by_model(
    name: str,
    vae: TextVAEPipeline,
    train: Dataset,
    sources: list[str],
    labels: list[str],
    targets: list[str],
    strengths: list[float],
    num_candidates: int,
) -> Iterator[tuple[str, list[str]]]:
    """Rebuilt, with the other label if the model has labels, and moved along each direction; name and edits."""
    has_labels = bool(vae.model.config.label_names)
    z = vae.encode(sources, label=labels if has_labels else None)
    towards = torch.tensor([1.0 if target == max(targets) else -1.0 for target in targets])[:, None]

    def written(moved: torch.Tensor, to: list[str]) -> list[str]:
        return vae.decode(moved, label=to if has_labels else None, num_candidates=num_candidates)  # pyright: ignore[reportReturnType]

    yield f"{name}: rebuilt", written(z, labels)
    if has_labels:
        yield f"{name}: other label", written(z, targets)
    for method in METHODS:
        step = fitted_step(vae, train, max(targets), method)
        for strength in strengths:
            way = f"{'other label, ' if has_labels else ''}{method} {strength:g}"
            yield f"{name}: {way}", written(z + strength * towards * step, targets)


def fitted_step(vae: TextVAEPipeline, train: Dataset, name: str, method: str) -> torch.Tensor:
    vae.fit_direction(name, train, method=method, label=train["label"][:] if vae.model.config.label_names else None)
    assert vae.directions is not None
    return vae.directions.step(name)


if __name__ == "__main__":
    run(main)

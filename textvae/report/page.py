"""The page: what a model has learnt, seen on texts of a file, as one HTML file that needs nothing else.

It is read on a screen, a phone or paper. A new section is a function that gives a `Section`, and a line in `_sections`.

N texts · Z latent_size
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, cast

import jinja2
from datasets import Dataset
from markupsafe import Markup
from torch import Tensor

from textvae.config_fields import COUNT, SEED, Range, check_settings, same_setting, setting
from textvae.data.given import Table
from textvae.data.labels import name_labels
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.table import counts, explained
from textvae.files import check_place, read_json, write_whole
from textvae.latents.maps import PCAMap
from textvae.pipeline.codec import Codec
from textvae.pipeline.hub import HISTORY_FILE, METRICS_FILE
from textvae.pipeline.inputs import as_dataset
from textvae.pipeline.parts import describe
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.pipeline.score import kl_of_dimensions
from textvae.report.plots import COLOURS, bars, curves, scatter
from textvae.report.samples import Chosen, of_prior, paraphrases, reconstructions, walks
from textvae.report.tail import most_unusual

_CURVES = {  # title: lines of a history
    "−ELBO, nats per text": {"training": "negative_elbo", "held-out": "validation_negative_elbo"},
    "−log p(x∣z), nats per text": {"training": "reconstruction", "held-out": "validation_reconstruction"},
    "KL, nats per text": {"training": "kl", "held-out": "validation_kl"},
    "β": {"β": "beta"},
    "what z is worth, nats": {"z of another text": "monitor/shuffle_gap"},
    "active units": {"units": "monitor/active_units"},
}
_TWO = Range("at least 2", lambda value: value >= 2)


@dataclass
class PageSettings:
    """What is shown of how much.

    Raises:
        InputError: for a value that is out of its range.
    """

    num_texts: int = setting(500, "texts of the file, chosen by seed, that are measured and on the map", _TWO)
    num_dimensions: int = setting(10, "most active dimensions whose traversals are shown", COUNT)
    num_unusual: int = setting(10, "most unusual texts that are shown", COUNT)
    num_importance_samples: int = setting(20, "K of the importance-weighted bound", COUNT)
    num_prior_samples: int = setting(100, "prior samples that are measured", COUNT)
    judge: str | None = same_setting(EvaluationConfig, "judge")
    judge_encoder: str | None = same_setting(EvaluationConfig, "judge_encoder")
    seed: int = setting(0, "random seed of all that is chosen or drawn", SEED)

    def __post_init__(self):
        check_settings(self)


class Group(NamedTuple):
    """Texts under a title; each is in parts, and those that are marked differ from the text before z was moved."""

    title: str
    lines: list[tuple[str, list[tuple[str, bool]]]]


class Section(NamedTuple):
    """A part of the page, of which only what there is is shown.

    Attributes:
        note: what is seen here, and how to read it.
        plots: with a caption each.
        items: what else a kind of section shows.
    """

    title: str
    note: str
    plots: Sequence[tuple[str, Markup]] = ()
    groups: Sequence[Group] = ()
    items: Sequence[Any] = ()
    kind: str = "plain"


@dataclass
class _Material:
    """What the sections are made of."""

    pipeline: TextVAEPipeline
    texts: Dataset
    settings: PageSettings
    codec: Codec
    some: Chosen
    mean: Tensor
    kl: Tensor  # of each dimension, in nats: (Z,)

    @classmethod
    def of(cls, pipeline: TextVAEPipeline, texts: Dataset, settings: PageSettings) -> "_Material":
        codec, some = Codec(pipeline.model, pipeline.tokenizers), Chosen.of(texts, settings.seed)
        read, _ = codec.read(some.texts, some.labels)
        mean, stddev = codec.posteriors(read)
        kl = kl_of_dimensions(codec, read, mean, stddev).mean(0)
        return cls(pipeline, texts, settings, codec, some, mean, kl)


def write_page(
    pipeline: TextVAEPipeline,
    texts: Iterable[str] | Table | Dataset,
    path: str | Path,
    settings: PageSettings | None = None,
    overwrite: bool = False,
) -> None:
    """Write the page of a model, seen on these texts, to an HTML file. The same seed gives the same page.

    Args:
        texts: a list, or a dataset or table with the column `text` and, if they are used, `target` and `label`. They
            should be new to the model.
        overwrite: whether a file that is there is replaced.

    Raises:
        InputError: if the file is there or cannot be written, or a text or a label cannot be used.
    """
    settings, path = settings or PageSettings(), Path(path)
    check_page(path, overwrite)
    own = as_dataset(texts, None, pipeline.model.config.label_names)
    own = own.shuffle(settings.seed, keep_in_memory=True).select(range(min(len(own), settings.num_texts)))
    write_whole(path, page(pipeline, _with_names(own, pipeline), settings))


def check_page(path: Path, overwrite: bool) -> None:
    """Raises InputError if this file is there and not to be replaced, or cannot be written."""
    check_place(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: add --overwrite to replace it, or give another --output.")


def page(pipeline: TextVAEPipeline, texts: Dataset, settings: PageSettings) -> str:
    """The page as HTML; see `write_page`."""
    material = _Material.of(pipeline, texts, settings)
    run = pipeline.model.config.name_or_path
    made = [make(material) for make in _sections(material)]
    sections = [made[0], training(run), *made[1:]]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    template = environment.from_string(resources.files("textvae.report").joinpath("page.html").read_text("utf-8"))
    name = Path(run).absolute().name if run else "A text VAE"
    said = describe(pipeline.model, pipeline.tokenizers).split(", device=")[0]
    about = re.sub(r", (?=\w+=)", " · ", said).replace("=", " ").replace("_", " ")
    facts = {"num_texts": len(texts), "seed": settings.seed, "about": about}
    return template.render(name=name, sections=[one for one in sections if one is not None], **facts)


def _sections(material: _Material) -> list[Callable[[_Material], Section]]:
    """Those of this kind of model, in order."""
    if material.pipeline.model.config.is_language_model:
        return [measured, samples, unusual]
    return [measured, dimensions, samples, written_back, on_the_way, other_words, traversals, plane, unusual]


def _with_names(texts: Dataset, pipeline: TextVAEPipeline) -> Dataset:
    """The texts with the names of their labels; without the column for a model that has none."""
    if "label" not in texts.column_names:
        return texts
    plain = texts.remove_columns("label")
    if not pipeline.model.config.label_names:
        return plain
    return plain.add_column("label", name_labels(texts["label"][:], texts.features["label"]))  # pyright: ignore


def measured(material: _Material) -> Section:
    options = {name: vars(material.settings)[name] for name in ("judge", "judge_encoder", "seed")}
    options |= {n: vars(material.settings)[n] for n in ("num_importance_samples", "num_prior_samples")}
    report = material.pipeline.evaluate(material.texts, **options)
    note = f"In nats, ± the standard error over the texts. {counts(report).replace('_', ' ')}."
    return Section("Measures", note, items=explained(report), kind="measures")


def training(run: str | None) -> Section:
    """The curves of the run that the model was opened from."""
    title, path = "Training", Path(run or "", HISTORY_FILE)
    history = _read_history(path) if run and path.is_file() else []
    if not history:
        return Section(title, f"The directory of this model has no {HISTORY_FILE}, so there are no curves.")
    plots = []
    for caption, names in _CURVES.items():
        lines = {said: [(row["step"], row[name]) for row in history if name in row] for said, name in names.items()}
        if lines := {said: line for said, line in lines.items() if line}:
            plots.append((caption, curves(lines)))
    facts = read_json(Path(run or "", METRICS_FILE)) or {}
    is_known = isinstance(facts, dict) and {"steps", "training_seconds"} <= facts.keys()
    took = f"{facts['steps']:,} steps in {facts['training_seconds'] / 60:.0f} minutes. " if is_known else ""
    return Section(title, f"{took}By steps. The line is training, dots are held-out texts.", plots)


def _read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history; a line that was cut is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append({name: value for name, value in row.items() if isinstance(value, int | float)})
    return [row | _negative_elbo(row) for row in rows if "step" in row]


def _negative_elbo(row: dict[str, float]) -> dict[str, float]:
    return {"negative_elbo": row["reconstruction"] + row["kl"]} if {"reconstruction", "kl"} <= row.keys() else {}


def dimensions(material: _Material) -> Section:
    order = material.kl.argsort(descending=True, stable=True).tolist()
    names = [f"dimension {d}" for d in order]
    plot = bars([float(material.kl[d]) for d in order], names, "nats")
    first = ", ".join(map(str, order[: material.settings.num_dimensions]))
    note = (
        f"The mean KL of each dimension of z from its prior, sorted; together {float(material.kl.sum()):.1f} nats. A "
        f"dimension near 0 says nothing of a text. The most active ones are {first}."
    )
    return Section("What each dimension holds", note, [("", plot)])


def samples(material: _Material) -> Section:
    groups = [_plain(one) for one in of_prior(material.pipeline, material.settings.seed)]
    return Section("Texts from the prior", "Written from draws of z, no text being read.", groups=groups)


def written_back(material: _Material) -> Section:
    some = [_plain(reconstructions(material.pipeline, material.some))._replace(title="")]
    return Section("Texts written back", "A text, and what is written from its z alone.", groups=some)


def on_the_way(material: _Material) -> Section:
    groups = [_plain(one) for one in walks(material.pipeline, material.some, dedupe=True)]
    note = "The texts on a straight line from one z to another; repeated ones are shown once."
    return Section("Walks", note if groups else "There are too few texts for a walk.", groups=groups)


def other_words(material: _Material) -> Section:
    found = paraphrases(material.pipeline, material.some, material.settings.seed)
    groups = [_plain(one) for one in found if one.lines]
    note = "Other texts near a text, the best first."
    return Section("Paraphrases", note if groups else "No paraphrase was found.", groups=groups)


def traversals(material: _Material) -> Section:
    """One text, with one dimension of its z moved at a time."""
    texts, number = material.some.texts, material.settings.num_dimensions
    row = min(material.some.order[:5], key=lambda one: len(texts[one]))  # a short one shows more
    text, label = texts[row], material.some.labels_of([row])
    order = material.kl.argsort(descending=True, stable=True).tolist()[:number]
    groups = []
    for dimension in order:
        (way,) = cast("list[list[str]]", material.pipeline.traverse([text], dimension, label=label))
        groups.append(_compared(f"Dimension {dimension}, {float(material.kl[dimension]):.2f} nats", way))
    note = f"“{text}”, with one dimension of z moved from −3 to +3. Words that change are bold."
    return Section("Traversals of the most active dimensions", note, groups=groups)


def _plain(one) -> Group:
    return Group(one.title, [("", [(line, False)]) for line in one.lines])


def _compared(title: str, way: list[str], reach: float = 3) -> Group:
    """A traversal; neighbours that are equal share a line, and what differs from the text in the middle is marked."""
    middle, places = way[len(way) // 2], [reach * (2 * i / (len(way) - 1) - 1) for i in range(len(way))]
    lines = []
    for _, run in groupby(zip(places, way, strict=True), key=lambda pair: pair[1]):
        same = list(run)
        ends = dict.fromkeys(f"{place:+.0f}".replace("-", "−").replace("+0", "0") for place, _ in (same[0], same[-1]))
        lines.append((" to ".join(ends), _changes(middle, same[0][1])))
    return Group(title, lines)


def _changes(before: str, after: str) -> list[tuple[str, bool]]:
    """The second text in parts, and whether each differs from the first."""
    old, new = (re.findall(r"\s*\S+", text) for text in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [("".join(new[j:k]), tag != "equal") for tag, _, _, j, k in matcher.get_opcodes() if k > j]


def plane(material: _Material) -> Section:
    """The texts in the plane in which their z vary most."""
    fitted = PCAMap.fit(material.mean)
    points = [(x, y) for x, y in fitted.transform(material.mean).tolist()]
    names = material.pipeline.model.config.label_names
    labels = material.some.labels or []
    groups = [min(names.index(label), COLOURS) for label in labels] or [0] * len(points)
    titles = [f"{text} ({label})" for text, label in zip(material.some.texts, labels, strict=True)] if labels else []
    plot = scatter(points, titles or material.some.texts, groups)
    legend = [(name, min(index, COLOURS)) for index, name in enumerate(names[: COLOURS + 1])]
    note = (
        f"z of {len(points):,} texts, in the plane in which they vary most (PCA); it shows {fitted.share.sum():.0%} of "
        "their variance. Point at a dot, or touch it, to read its text."
    )
    return Section("A map of z", note, [("", plot)], items=legend, kind="map")


def unusual(material: _Material) -> Section:
    title, some = "The most unusual texts", material.some
    if some.targets is not None:
        return Section(title, "This model writes targets and not what it reads, so its own texts have no likelihood.")
    found = most_unusual(material.pipeline, some.texts, some.labels, material.settings.num_unusual)
    by = "by −ELBO per token, in nats. No detector is saved with this model, so there are no p-values."
    if material.pipeline.detector is not None:
        names = " and ".join(name.replace("_", " ") for name in material.pipeline.detector.scores)
        by = f"by its detector ({names}). A p-value is the share of usual texts that are at least as unusual."
    note = f"The tail of these texts {by} The redder a token, the less it was expected; the three least are underlined."
    return Section(title, note, items=found, kind="tail")

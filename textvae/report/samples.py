"""Samples of a finished run: texts written back, drawn from the prior, on paths and as paraphrases."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from datasets import Dataset

from textvae.data.inference_batches import groups
from textvae.pipeline.pipeline import TextVAEPipeline

CANDIDATES = 8  # for each z, of which the one that is read back nearest is shown


class Samples(NamedTuple):
    """Texts under a title.

    Attributes:
        quotes: whether title or lines quote held-out texts.
    """

    title: str
    lines: list[str]
    quotes: bool


def of_prior(pipeline: TextVAEPipeline, seed: int) -> list[Samples]:
    """Five texts from the prior; with labels, five for each of the first five."""
    shown = pipeline.model.config.label_names[:5]
    labels = [name for name in shown for _ in range(5)] or None
    drawn = cast("list[str]", pipeline.sample(5 * max(1, len(shown)), seed=seed, label=labels))
    titles = [f"Prior samples of “{name}”" for name in shown] or ["Prior samples"]
    return [Samples(title, lines, quotes=False) for title, lines in zip(titles, groups(drawn, 5), strict=True)]


def of_held_out(pipeline: TextVAEPipeline, held_out: Dataset, seed: int) -> list[Samples]:
    """Five reconstructions, two interpolations and two texts with five paraphrases.

    A target follows its reconstruction in brackets. With labels, every text is encoded and decoded with its own label,
    and interpolations are between texts with the same label.

    Args:
        held_out: the column `text` and, if they are used, `target` and `label`.
    """
    some = Chosen.of(held_out, seed)
    return [reconstructions(pipeline, some), *walks(pipeline, some), *paraphrases(pipeline, some, seed)]


class Chosen(NamedTuple):
    """Texts to show, and the rows of those that each kind of sample is of.

    Attributes:
        order: all rows, at random.
    """

    texts: list[str]
    targets: list[str] | None
    labels: list[str] | None
    order: list[int]

    @classmethod
    def of(cls, texts: Dataset, seed: int) -> "Chosen":
        columns = {name: texts[name][:] for name in texts.column_names if name in ("text", "target", "label")}
        order = np.random.default_rng(seed).permutation(len(texts)).tolist()
        return cls(columns["text"], columns.get("target"), columns.get("label"), order)

    @property
    def num_candidates(self) -> int:
        """Of a target one, since it cannot be read back: the encoder reads other texts."""
        return CANDIDATES if self.targets is None else 1

    def labels_of(self, rows: list[int]) -> list[str] | None:
        return self.labels and [self.labels[i] for i in rows]


def reconstructions(pipeline: TextVAEPipeline, some: Chosen) -> Samples:
    """Five texts, each with what is written from its z."""
    rows = some.order[:5]
    wanted = [""] * len(rows) if some.targets is None else [f" ({some.targets[i]})" for i in rows]
    given = [some.texts[i] for i in rows]
    backs = pipeline.reconstruct(given, label=some.labels_of(rows), num_candidates=some.num_candidates)
    lines = [f"{text} → {back}{target}" for text, back, target in zip(given, backs, wanted, strict=True)]
    return Samples("Reconstructions", lines, quotes=True)


def walks(pipeline: TextVAEPipeline, some: Chosen, dedupe: bool = False) -> list[Samples]:
    """Two walks of seven texts."""
    texts, ends = some.texts, some.order[5:9]
    if some.labels is not None:
        ends = [end for start in ends[::2] for end in _with_its_label(start, some.order, some.labels)]
    found = []
    for start, end in zip(ends[::2], ends[1::2], strict=False):
        options = {"num_candidates": some.num_candidates, "label": some.labels_of([start]), "dedupe": dedupe}
        way = pipeline.interpolate(texts[start], texts[end], num_steps=7, **options)  # pyright: ignore
        found.append(Samples(f"From “{texts[start]}” to “{texts[end]}”", cast("list[str]", way), quotes=True))
    return found


def paraphrases(pipeline: TextVAEPipeline, some: Chosen, seed: int) -> list[Samples]:
    """Two texts with five paraphrases each."""
    found = []
    for i in some.order[9:11]:
        own = pipeline.paraphrase(some.texts[i], num_return_sequences=5, seed=seed, label=some.labels_of([i]))
        found.append(Samples(f"Paraphrases of “{some.texts[i]}”", cast("list[str]", own), quotes=True))
    return found


def _with_its_label(start: int, order: list[int], labels: Sequence[str]) -> list[int]:
    """The index `start` and that of another text with the same label; empty if there is no other."""
    return next(([start, i] for i in order if i != start and labels[i] == labels[start]), [])

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
    columns = {name: held_out[name][:] for name in held_out.column_names if name in ("text", "target", "label")}
    texts, targets, labels = columns["text"], columns.get("target"), columns.get("label")
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()
    read, ends, sources = order[:5], order[5:9], order[9:11]
    if labels is not None:
        ends = [end for start in ends[::2] for end in _with_its_label(start, order, labels)]

    def of(rows: list[int]) -> list[str] | None:
        return labels and [labels[i] for i in rows]

    wanted = [""] * len(read) if targets is None else [f" ({targets[i]})" for i in read]
    # A target cannot be read back, since the encoder reads other texts.
    num_candidates = CANDIDATES if targets is None else 1
    backs = pipeline.reconstruct([texts[i] for i in read], label=of(read), num_candidates=num_candidates)
    reconstructed = [f"{texts[i]} → {back}{target}" for i, back, target in zip(read, backs, wanted, strict=True)]
    parts = [("Reconstructions", reconstructed)]
    for start, end in zip(ends[::2], ends[1::2], strict=False):
        walk = pipeline.interpolate(
            texts[start], texts[end], num_steps=7, label=of([start]), num_candidates=num_candidates
        )
        parts.append((f"From “{texts[start]}” to “{texts[end]}”", cast("list[str]", walk)))
    for i in sources:
        found = pipeline.paraphrase(texts[i], num_return_sequences=5, seed=seed, label=of([i]))
        parts.append((f"Paraphrases of “{texts[i]}”", cast("list[str]", found)))
    return [Samples(title, lines, quotes=True) for title, lines in parts]


def _with_its_label(start: int, order: list[int], labels: Sequence[str]) -> list[int]:
    """The index `start` and that of another text with the same label; empty if there is no other."""
    return next(([start, i] for i in order if i != start and labels[i] == labels[start]), [])

"""The report of a finished run: table, reconstructions, prior samples, interpolations, paraphrases; the model card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from datasets import Dataset

from textvae.evaluation import metrics
from textvae.evaluation.table import NUM_PRIOR_SAMPLES, report_table
from textvae.files import write_whole
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline


def write_report(
    pipeline: TextVAEPipeline,
    report: dict,
    held_out: Dataset,
    output_dir: str | Path,
    seed: int = 0,
    with_samples: bool = True,
) -> None:
    """Print the table and the samples of a run, and save them as `metrics.json` and the model card `README.md`.

    Args:
        report: the report of `evaluate`, and any other values to save; `distinct_samples` is added to it.
        held_out: texts for the samples: the column `text` and, if they are used, `target` and `label`.
        with_samples: whether to generate samples.
    """
    output_dir = Path(output_dir)
    shown = []
    if with_samples:
        names = pipeline.model.config.label_names
        drawn = [names[i % len(names)] for i in range(NUM_PRIOR_SAMPLES)] if names else None
        prior = cast("list[str]", pipeline.sample(NUM_PRIOR_SAMPLES, seed=seed, label=drawn))
        report["distinct_samples"] = metrics.distinct_share(prior)
        shown = [samples(pipeline, held_out, _prior_samples(prior, names), seed)]
    body = "\n\n".join([report_table(report), *shown])
    print(body, flush=True)
    card = CARD.format(body=body, name=output_dir.absolute().name, path=output_dir)
    write_whole(output_dir / CARD_FILE, card)
    write_whole(output_dir / METRICS_FILE, json.dumps(report, indent=1))


def _prior_samples(prior: list[str], names: list[str]) -> dict[str, list[str]]:
    """Five prior samples by title; with labels, which take turns in `prior`, five for each of the first five labels."""
    if not names:
        return {"Prior samples": prior[:5]}
    return {f"Prior samples of “{name}”": prior[i :: len(names)][:5] for i, name in enumerate(names[:5])}


def samples(pipeline: TextVAEPipeline, held_out: Dataset, prior: dict[str, list[str]], seed: int) -> str:
    """Five reconstructions, prior samples, two interpolations and two texts with five paraphrases, as Markdown.

    A target follows its reconstruction in brackets. With labels, every text is encoded and decoded with its own label,
    and interpolations are between texts with the same label.
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
    backs = pipeline.reconstruct([texts[i] for i in read], label=of(read))
    reconstructed = [f"{texts[i]} → {back}{target}" for i, back, target in zip(read, backs, wanted, strict=True)]
    parts = [("Reconstructions", reconstructed), *prior.items()]
    for start, end in zip(ends[::2], ends[1::2], strict=False):
        walk = pipeline.interpolate(texts[start], texts[end], num_steps=7, label=of([start]))
        parts.append((f"From “{texts[start]}” to “{texts[end]}”", cast("list[str]", walk)))
    for i in sources:
        found = pipeline.paraphrase(texts[i], num_return_sequences=5, seed=seed, label=of([i]))
        parts.append((f"Paraphrases of “{texts[i]}”", cast("list[str]", found)))
    return "\n\n".join(f"**{title}**\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in parts)


def _with_its_label(start: int, order: list[int], labels: Sequence[str]) -> list[int]:
    """The index `start` and that of another text with the same label; empty if there is no other."""
    return next(([start, i] for i in order if i != start and labels[i] == labels[start]), [])


CARD = """---
library_name: textvae
tags: [text-vae]
---

# {name}

A text VAE trained with textvae. Open it with

```python
from textvae import TextVAEPipeline

pipeline = TextVAEPipeline.from_pretrained("{path}")
```

## On held-out texts

{body}
"""

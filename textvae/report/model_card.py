"""What a finished run shows: a table, reconstructions, prior samples, walks and paraphrases, and the model card."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textvae.evaluation import metrics
from textvae.evaluation.table import NUM_PRIOR_SAMPLES, table
from textvae.files import write_whole
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline


def write_report(
    pipeline: TextVAEPipeline,
    report: dict,
    texts: Sequence[str],
    output_dir: str | Path,
    seed: int = 0,
    targets: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> None:
    """Print the table and the samples; save both as `metrics.json` and the model card `README.md` of `output_dir`.

    Args:
        report: what `evaluate` gave, and what else is worth keeping; gets `distinct_samples`.
        texts: held-out texts to show the model at work on.
        targets: what they should be decoded to, where that is something else.
        labels: those of the texts, of a model that has labels.
    """
    output_dir = Path(output_dir)
    names = pipeline.model.config.label_names
    drawn = [names[i % len(names)] for i in range(NUM_PRIOR_SAMPLES)] if names else None
    prior = pipeline.sample(NUM_PRIOR_SAMPLES, seed=seed, label=drawn)
    report["distinct_samples"] = metrics.distinct_share(prior)
    sampled = _prior_samples(prior, names)
    body = f"{table(report)}\n\n{samples(pipeline, texts, sampled, seed, targets, labels)}"
    print(body, flush=True)
    card = CARD.format(body=body, name=output_dir.absolute().name, path=output_dir)
    (output_dir / CARD_FILE).write_text(card, encoding="utf-8")
    write_whole(output_dir / METRICS_FILE, json.dumps(report, indent=1))


def _prior_samples(prior: list[str], names: list[str]) -> dict[str, list[str]]:
    """The first five by their title; with labels, whose samples come in turn, of each of the first five labels."""
    if not names:
        return {"Prior samples": prior[:5]}
    return {f"Prior samples of “{name}”": prior[i :: len(names)][:5] for i, name in enumerate(names[:5])}


def samples(
    pipeline: TextVAEPipeline,
    texts: Sequence[str],
    prior: dict[str, list[str]],
    seed: int,
    targets: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> str:
    """Five reconstructions, prior samples, two interpolations and two texts with five paraphrases, as Markdown.

    With `targets` each of these stands in brackets behind what was written. With `labels` each text is read and written
    with its own, and a walk is between texts of one label.
    """
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
        parts.append((f"From “{texts[start]}” to “{texts[end]}”", walk))
    for i in sources:
        found = pipeline.paraphrase(texts[i], num_return_sequences=5, seed=seed, label=of([i]))
        parts.append((f"Paraphrases of “{texts[i]}”", found))
    return "\n\n".join(f"**{title}**\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in parts)


def _with_its_label(start: int, order: list[int], labels: Sequence[str]) -> list[int]:
    """The text and another of its label, or nothing where it has no other."""
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

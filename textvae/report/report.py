"""The report of a finished run: its table and its samples, printed, and kept as metrics and model card."""

import json
from pathlib import Path

from datasets import Dataset

from textvae.files import write_whole
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.processes import say
from textvae.report.model_card import About, as_text, model_card, results
from textvae.report.samples import of_held_out, of_prior


def write_report(
    pipeline: TextVAEPipeline,
    report: dict,
    held_out: Dataset,
    output_dir: str | Path,
    about: About,
    seed: int = 0,
    with_samples: bool = True,
) -> None:
    """Save the table and the samples of a run as `metrics.json` and the model card `README.md`, and print them.

    Args:
        report: the report of `evaluate`, and any other values to save.
        held_out: texts for the samples: the column `text` and, if they are used, `target` and `label`.
        about: what the card says of the model's origin, and whether it quotes held-out texts.
        with_samples: whether to generate samples.
    """
    output_dir, shown = Path(output_dir), []
    if with_samples:
        first, *others = of_held_out(pipeline, held_out, seed)
        shown = [first, *of_prior(pipeline, seed), *others]
    write_whole(output_dir / CARD_FILE, model_card(pipeline, report, shown, output_dir, about))
    write_whole(output_dir / METRICS_FILE, json.dumps(report, indent=1))
    say("\n\n".join([results(report), *map(as_text, shown)]))

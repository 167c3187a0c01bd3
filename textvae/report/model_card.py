"""The model card of a finished run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from textvae.data.duplicates import IN_TRAINING
from textvae.data.extend_tokenizer import kind_of
from textvae.data.normalization import normalization_of
from textvae.evaluation.table import report_table
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.report.samples import Samples

_TASK = "text-generation"
_MEASURED = {
    "iw_nll": "−log p(x), importance-weighted bound, nats per text",
    "negative_elbo": "−ELBO, nats per text",
    "perplexity_word": "Perplexity per word",
    "bleu": "BLEU of reconstructions",
    "exact_match": "Exact match of reconstructions",
}
_READING = {
    "nfc": "Texts are read after Unicode's normalization NFC, with every space kept.",
    "nfkc": "Texts are read after Unicode's normalization NFKC, with single spaces between words.",
    "none": "Texts are read as they are, with every character and space.",
}


@dataclass
class About:
    """What the card of a model says of its origin.

    Attributes:
        language: of the texts, as in `en`.
        license: of the model, as in `apache-2.0`.
        base_models: models on the Hub that the training started from.
        dataset: the corpus, if it is on the Hub.
        quotes: whether the card quotes held-out texts. Pushed to the Hub, it publishes them.
    """

    language: str | None = None
    license: str | None = None
    base_models: Sequence[str] = ()
    dataset: str | None = None
    quotes: bool = False


def model_card(pipeline: TextVAEPipeline, report: dict, shown: Sequence[Samples], path: Path, about: About) -> str:
    """The card, as Markdown, of the model in the directory `path`."""
    name = path.absolute().name
    reading = _READING[normalization_of(pipeline.tokenizer)] if kind_of(pipeline.tokenizer) == "sentencepiece" else ""
    samples = [as_markdown(one) for one in shown if about.quotes or not one.quotes]
    body = "\n\n".join([results(report), *samples])
    return CARD.format(
        data=_data(name, report, about), name=name, path=path.as_posix(), reading=f" {reading}".rstrip(), body=body
    )


def results(report: dict) -> str:
    """The table, and a sentence if held-out texts are in training, too."""
    number = report.get(IN_TRAINING, 0)
    too_good = f"\n\n{number} of the held-out texts are in training, too: these results are too good."
    return report_table(report) + (too_good if number else "")


def as_text(samples: Samples) -> str:
    """Samples as they are shown on a terminal, a line for each text."""
    return f"**{_line(samples.title)}**\n\n" + "\n".join(f"- {_line(line)}" for line in samples.lines)


def as_markdown(samples: Samples) -> str:
    """Samples as Markdown, in which no character of a text is a mark."""
    return as_text(Samples(_escaped(samples.title), list(map(_escaped, samples.lines)), samples.quotes))


def _line(text: str) -> str:
    return " ⏎ ".join(text.splitlines())


def _escaped(text: str) -> str:
    marks_inside = re.sub(r"([\\`*_\[\]<>&|~#])", r"\\\1", text.lstrip())
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", marks_inside)  # of a list in the list


def _data(name: str, report: dict, about: About) -> str:
    """The facts that the Hub reads, as YAML."""
    kind, texts = about.dataset or "text", about.dataset or "held-out texts"
    return ModelCardData(
        language=about.language,
        license=about.license,
        library_name="textvae",
        pipeline_tag=_TASK,
        tags=["text-vae"],
        base_model=list(about.base_models) or None,
        datasets=[about.dataset] if about.dataset else None,
        model_name=name,
        eval_results=[
            EvalResult(_TASK, kind, texts, metric_type=key, metric_value=round(report[key], 4), metric_name=title)
            for key, title in _MEASURED.items()
            if key in report
        ],
    ).to_yaml()


CARD = """---
{data}
---

# {name}

A text VAE trained with textvae.{reading} Open it with

```python
from textvae import TextVAEPipeline

pipeline = TextVAEPipeline.from_pretrained("{path}")
```

## On held-out texts

{body}
"""

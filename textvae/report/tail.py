"""The tail: the most unusual of some texts, each with how little its tokens were expected."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from textvae.pipeline.detect import Detection
from textvae.pipeline.inputs import Label
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.pipeline.score import TextTerms

MARKED = 3  # tokens of a text that are the least expected


class Span(NamedTuple):
    """A part of a text.

    Attributes:
        nats: −log p of the token that it is, given z and what is before it; None for what lies between tokens.
        is_marked: whether it is among the least expected.
    """

    text: str
    nats: float | None = None
    is_marked: bool = False


class Unusual(NamedTuple):
    """An unusual text.

    Attributes:
        score: of the detector, or −ELBO in nats per token where there is none.
        p_value: None without a detector.
    """

    spans: list[Span]
    score: float
    p_value: float | None


def most_unusual(pipeline: TextVAEPipeline, texts: list[str], labels: list[str] | None, number: int) -> list[Unusual]:
    """The most unusual of these texts, the most unusual first: by the detector, or without one by −ELBO per token."""
    terms = _terms(pipeline, texts, labels)
    scores, p_values = [one.negative_elbo / one.num_tokens for one in terms], [None] * len(texts)
    if pipeline.detector is not None:
        found = cast("list[Detection]", pipeline.detect(texts, num_tokens=0, label=labels))
        scores, p_values = [one.score for one in found], [one.p_value for one in found]
    rows = sorted(range(len(texts)), key=lambda row: -scores[row])[:number]
    return [Unusual(spans(texts[row], terms[row].tokens or []), scores[row], p_values[row]) for row in rows]


def _terms(pipeline: TextVAEPipeline, texts: list[str], labels: Label) -> list[TextTerms]:
    return cast("list[TextTerms]", pipeline.score(texts, num_samples=1, label=labels, return_tokens=True))


def spans(text: str, tokens: Sequence[tuple[str, float]]) -> list[Span]:
    """The text in parts, one for each token that is found in it; a token of another form stands as it is written.

    Args:
        tokens: each as it is written alone, and its nats; what has no letters in it, such as EOS, is left out.
    """
    shown = [(token.strip(), nats) for token, nats in tokens if token.strip() and not _is_special(token)]
    least = sorted((nats for _, nats in shown), reverse=True)[:MARKED]
    found, place = [], 0
    for token, nats in shown:
        start = text.find(token, place)
        if start < 0 or start - place > 2:  # not the next word but one farther on: the text was normalized
            return [part for one in shown for part in (Span(one[0], one[1], one[1] in least), Span(" "))]
        if start > place:
            found.append(Span(text[place:start]))
        found.append(Span(token, nats, nats in least))
        place = start + len(token)
    return [*found, Span(text[place:])]


def _is_special(token: str) -> bool:
    return token.startswith(("<", "[")) and token.endswith((">", "]")) and len(token) > 2

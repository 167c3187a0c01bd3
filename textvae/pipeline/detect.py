"""The odd one out: fit a detector to usual texts, and find unusual ones with it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from textvae.data.inference_batches import InferenceBatches
from textvae.errors import InputError
from textvae.pipeline.chunks import in_chunks
from textvae.pipeline.codec import Codec
from textvae.pipeline.detector import Detector
from textvae.pipeline.fingerprint import fingerprint
from textvae.pipeline.inputs import Label, Texts, as_many
from textvae.pipeline.reading import DISTANCES, Reading, known_scores
from textvae.pipeline.score import with_tokens

DEFAULT_SCORES = ("reconstruction_per_token", "neighbours_states")
MOST_NEIGHBOURS, MOST_HELD_OUT = 20_000, 2_000  # texts; more cost time, and change little
HELD_OUT_SHARE = 0.2
FEWEST_HELD_OUT = 20  # of a calibration; with fewer no p-value is below 0.05


class Detection(NamedTuple):
    """How unusual a text is.

    Args:
        score: of one score its value, nats or a distance; of several −2 Σ ln p. The higher, the more unusual.
        p_value: (1 + the number of held-out usual texts with a score at least as high) / (1 + their number).
        least_expected: the tokens with the most nats −log p(x_t|z, x_<t), where z is the mean of q(z|x), and these.
    """

    score: float
    p_value: float
    least_expected: list[tuple[str, float]]


def fit_detector(
    codec: Codec, normal_texts: Texts, held_out: Texts | None, score: str | Sequence[str], label: Label
) -> Detector:
    """The detector of these scores, see `TextVAEPipeline.fit_detector`."""
    names = known_scores(score, codec.model)
    normal = as_many(normal_texts)
    texts = normal if held_out is None else normal + as_many(held_out)
    ids = codec.label_ids(label, len(texts))
    near, apart = _split(len(normal), None if held_out is None else len(texts) - len(normal))
    _check_number(len(apart), len(names))

    def reading(rows: list[int], distances: dict) -> Reading:
        return Reading(codec, codec.tokenize([texts[i] for i in rows], ids and [ids[i] for i in rows]), distances)

    usual = reading(near, {})
    distances = {name: DISTANCES[name].fit(usual.points(name)) for name in names if name in DISTANCES}
    scores = reading(apart, distances).scores(names)
    if not scores.isfinite().all():
        raise InputError("The scores of some normal texts are not finite: train the model anew.")
    return Detector.fit(names, distances, scores, fingerprint(codec.model))


def _split(num_normal: int, num_held_out: int | None) -> tuple[list[int], list[int]]:
    """The rows of the texts that distances are from, and of those that are held out; in a random order."""
    random = np.random.default_rng(0)
    order = random.permutation(num_normal).tolist()
    if num_held_out is not None:
        apart = (num_normal + random.permutation(num_held_out)).tolist()
        return order[:MOST_NEIGHBOURS], apart[:MOST_HELD_OUT]
    number = min(MOST_HELD_OUT, round(HELD_OUT_SHARE * num_normal))
    return order[number:][:MOST_NEIGHBOURS], order[:number]


def _check_number(held_out: int, num_scores: int) -> None:
    needed = FEWEST_HELD_OUT * min(2, num_scores)
    if held_out < needed:
        raise InputError(
            f"This detector needs {needed} held-out texts, and there are {held_out}: give as many as held_out, or "
            f"{round(needed / HELD_OUT_SHARE)} normal texts, a fifth of which is held out."
        )


def detect(
    codec: Codec, detector: Detector | None, texts: Texts, num_tokens: int, label: Label
) -> list[Detection] | Detection | Iterator[Detection]:
    """How unusual each text is, see `TextVAEPipeline.detect`."""
    if detector is None:
        raise InputError(
            "This model has no detector: fit one with TextVAEPipeline.fit_detector, or on the command line "
            "by `--normal`."
        )

    def detected(read: InferenceBatches) -> list[Detection]:
        if not len(read):
            return []
        reading = Reading(codec, read, detector.distances)
        totals = detector.total(reading.scores(detector.scores))
        return list(
            map(Detection, totals.tolist(), detector.p_value(totals).tolist(), _unexpected(reading, num_tokens))
        )

    return in_chunks(codec, texts, label, detected)


def _unexpected(reading: Reading, num_tokens: int) -> list[list[tuple[str, float]]]:
    """The tokens of each text with the most nats; of none, nothing is decoded for them."""
    if num_tokens == 0:
        return [[] for _ in range(len(reading.read))]
    tokens = with_tokens(reading.read, reading.nll)
    return [sorted(own, key=lambda one: -one[1])[:num_tokens] for own in tokens]

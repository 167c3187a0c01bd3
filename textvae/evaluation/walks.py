"""Walks from one text to another, measured: how far apart their neighbours are, and how near their ends to the inputs.

N walks · M texts of a walk · H size of an embedding
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from textvae.errors import InputError
from textvae.evaluation.judges import SentenceEncoder
from textvae.evaluation.metrics import STANDARD_ERROR, standard_error


def walk_terms(
    walks: Sequence[Sequence[str]], starts: Sequence[str], ends: Sequence[str], encoder: SentenceEncoder
) -> dict[str, Tensor]:
    """The measures of each walk, in the space of a sentence encoder, where the distance of two texts is 1 − cosine.

    Steps between equal texts are 0 and count, so a walk of few distinct texts has a small mean step and a large worst
    one.

    Args:
        walks: N times at least two texts; they may differ in number.
        starts, ends: the N texts on each side that a walk was asked to join.

    Returns:
        (N,) each: `walk_mean_step` and `walk_worst_step`, the mean and the largest distance of two neighbours;
        `walk_ends`, the mean cosine of the first text with the start and of the last with the end; `walk_distinct`, the
        share of distinct texts.

    Raises:
        InputError: if there are not as many walks as starts and ends, or one has less than two texts.
    """
    if not len(walks) == len(starts) == len(ends) or not walks or min(map(len, walks)) < 2:
        raise InputError("Walks are measured with the two texts that each joins, and have two texts or more.")
    embedded = encoder.embed([text for walk in walks for text in walk]).split([len(walk) for walk in walks])
    steps = [1 - (own[1:] * own[:-1]).sum(1) for own in embedded]
    first, last = torch.stack([own[0] for own in embedded]), torch.stack([own[-1] for own in embedded])  # (N, H)
    cosines = (first * encoder.embed(starts)).sum(1) + (last * encoder.embed(ends)).sum(1)
    return {
        "walk_mean_step": torch.stack([own.mean() for own in steps]),
        "walk_worst_step": torch.stack([own.max() for own in steps]),
        "walk_ends": cosines / 2,
        "walk_distinct": torch.tensor([len({*walk}) / len(walk) for walk in walks]),
    }


def measure_walks(
    walks: Sequence[Sequence[str]], starts: Sequence[str], ends: Sequence[str], encoder: SentenceEncoder
) -> dict[str, float]:
    """The means of `walk_terms`, each with its `<name>_standard_error` over the walks."""
    terms = walk_terms(walks, starts, ends, encoder)
    return {
        key: value
        for name, values in terms.items()
        for key, value in ((name, float(values.double().mean())), (name + STANDARD_ERROR, standard_error(values)))
    }

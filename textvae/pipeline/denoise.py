"""Clean texts for noisy ones: written from the z of a noisy text, close to its words."""

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

from textvae.config_fields import NOT_NEGATIVE, number
from textvae.data.edit_costs import COSTS
from textvae.data.gaps import mask_gaps
from textvae.data.inference_batches import InferenceBatches
from textvae.data.special_tokens import special_tokens
from textvae.pipeline.channel import Alignment, Closeness, pieces_of
from textvae.pipeline.chunks import in_chunks
from textvae.pipeline.codec import Codec, Written
from textvae.pipeline.inputs import Label, Texts

logger = logging.getLogger(__name__)


def denoise(codec: Codec, texts: Texts, closeness: float, label: Label) -> Written | Iterator[Any]:
    """The text y of each noisy text x with the most log p(y|z) − closeness · cost(x|y), where z is the mean of q(z|x).

    The cost is that of a [`textvae.pipeline.channel`].

    Raises:
        InputError: if `closeness` is negative.
    """
    closeness = number("closeness", closeness, NOT_NEGATIVE)
    if not codec.model.config.trained_with_noise:
        say_untrained()
    return in_chunks(codec, texts, label, lambda read: _cleaned(codec, read, closeness))


def _cleaned(codec: Codec, read: InferenceBatches, closeness: float) -> list:
    read.input_ids = mask_gaps(read.texts, read.input_ids, codec.tokenizers)
    alignments = _alignments(codec, read) if closeness else []

    def near(indices: list[int]) -> Closeness:
        return Closeness([alignments[i] for i in indices], closeness)

    return codec.write(codec.means(read), read.label_ids, read.lengths, near if closeness else None)


@cache
def say_untrained() -> None:
    """Log it once, and not for each part of a long input."""
    logger.warning(
        "This model was trained without noise, so its z is that of the noisy text: train one with noise_typos, "
        "noise_drop and their like, as recipes/configs/denoise.yaml does."
    )


def _alignments(codec: Codec, read: InferenceBatches) -> list[Alignment]:
    pieces, end = pieces_of(codec.tokenizers.decoder), special_tokens(codec.tokenizers.decoder).eos_token_id
    pairs = zip(read.texts, read.target_ids, strict=True)
    return [Alignment(text, own_tokens, end, pieces, COSTS) for text, own_tokens in pairs]

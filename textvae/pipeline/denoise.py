"""Clean texts for noisy ones: written from the z of a noisy text, close to its words."""

import logging
from functools import cache

from textvae.config_fields import NOT_NEGATIVE, number
from textvae.data.gaps import mask_gaps
from textvae.data.inference_batches import InferenceBatches
from textvae.data.noise import COSTS
from textvae.data.special_tokens import special_tokens
from textvae.pipeline.channel import Alignment, Closeness, Pieces
from textvae.pipeline.codec import Codec, Written
from textvae.pipeline.inputs import Label, Texts

logger = logging.getLogger(__name__)


def denoise(codec: Codec, texts: Texts, closeness: float, label: Label) -> Written:
    """The text y of each noisy text x with the most log p(y|z) − closeness · cost(x|y), where z is the mean of q(z|x).

    The cost is that of a [`textvae.pipeline.channel`].

    Raises:
        InputError: if `closeness` is negative.
    """
    closeness = number("closeness", closeness, NOT_NEGATIVE)
    if not codec.model.config.trained_with_noise:
        say_untrained()
    read, single = codec.read(texts, label)
    read.input_ids = mask_gaps(read.texts, read.input_ids, codec.tokenizers)
    latents, _ = codec.posteriors(read)
    alignments = _alignments(codec, read) if closeness else []

    def near(indices: list[int]) -> Closeness:
        return Closeness([alignments[i] for i in indices], closeness)

    written = codec.write(latents, read.label_ids, read.lengths, near if closeness else None)
    return written[0] if single else written


@cache
def say_untrained() -> None:
    """Log it once, and not for each part of a long input."""
    logger.warning(
        "This model was trained without noise, so its z is that of the noisy text: train one with noise_typos, "
        "noise_drop and their like, as recipes/configs/denoise.yaml does."
    )


def _alignments(codec: Codec, read: InferenceBatches) -> list[Alignment]:
    pieces, end = Pieces(codec.tokenizers.decoder), special_tokens(codec.tokenizers.decoder).eos_token_id
    pairs = zip(read.texts, read.target_ids, strict=True)
    return [Alignment(text, own_tokens, end, pieces, COSTS) for text, own_tokens in pairs]

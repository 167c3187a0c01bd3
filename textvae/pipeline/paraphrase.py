"""Paraphrases: texts written around the posterior of a source text, without copies of it, the nearest first.

N texts · M candidates of each · Z latent_size
"""

import unicodedata
from collections.abc import Sequence
from typing import cast

import torch

from textvae.data.inference_batches import InferenceBatches
from textvae.data.normalization import normalize
from textvae.pipeline.codec import Codec
from textvae.pipeline.draws import finite_draws

ROUNDS = 4
GROWTH = 1.5  # of the temperature, from round to round


class Candidates:
    """Distinct texts, none of them among `copies`."""

    def __init__(self, copies: Sequence[str]):
        self.texts: list[str] = []
        self.seen = {"", *map(_comparable, copies)}

    def add(self, texts: Sequence[str]) -> None:
        for text in texts:
            if (key := _comparable(text)) not in self.seen:
                self.seen.add(key)
                self.texts.append(text)


def _comparable(text: str) -> str:
    """The text without case, extra spaces and final punctuation, which alone make no paraphrase."""
    text = normalize(text, "nfkc").casefold()
    while text and unicodedata.category(text[-1])[0] in "PZ":
        text = text[:-1]
    return text


def find_paraphrases(
    codec: Codec, source: InferenceBatches, wanted: int, drawn: int, temperature: float
) -> list[list[str]]:
    """Up to `wanted` paraphrases of each text, the nearest first.

    Args:
        codec: one that writes one text of each z.
        source: the N texts.
        drawn: z for each text in a round.

    Raises:
        InputError: if the temperature makes a z too large to compute with.
    """
    ids = source.label_ids
    mean, stddev = (part.unsqueeze(1) for part in codec.posteriors(source))  # (N, 1, Z)
    read = [codec.tokenizers.decoder.decode(tokens, skip_special_tokens=True) for tokens in source.target_ids]
    candidates = [Candidates(copies) for copies in zip(source.texts, cast("list[str]", read), strict=True)]
    # Of all rounds at once, so that the noise of a text depends neither on the other texts nor on what they still lack.
    noise = codec.draws.noise(len(source), ROUNDS, drawn, mean.shape[-1])
    for attempt in range(ROUNDS):
        lacking = [i for i, found in enumerate(candidates) if len(found.texts) < wanted]
        if not lacking:
            break
        drawn_around = mean + temperature * GROWTH**attempt * stddev * noise[:, attempt]
        around = finite_draws(drawn_around, temperature)[lacking]
        written = codec.write_each(around, ids and [ids[i] for i in lacking])
        for i, texts in zip(lacking, written, strict=True):
            candidates[i].add(texts)
    nearest = _nearest_first(codec, [found.texts for found in candidates], mean, ids)
    return [texts[:wanted] for texts in nearest]


def _nearest_first(
    codec: Codec, candidates: list[list[str]], mean: torch.Tensor, ids: list[int] | None
) -> list[list[str]]:
    """The candidates of each text by the distance of their posterior mean from that of the text (N, 1, Z)."""
    orders = [apart.argsort().tolist() for apart in codec.distances(candidates, mean.squeeze(1), ids)]
    return [[found[i] for i in order] for found, order in zip(candidates, orders, strict=True)]

"""Paraphrases: texts around the posterior of another, no copies of it, the nearest first.

N texts · M candidates of each · Z latent_size
"""

import unicodedata
from collections.abc import Sequence

import torch

from textvae.data.inference_batches import Corpus
from textvae.data.unigram import normalize
from textvae.pipeline.codec import Codec

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
    """The text without what makes no paraphrase: case, spaces, punctuation at the end."""
    text = normalize(text).casefold()
    while text and unicodedata.category(text[-1])[0] in "PZ":
        text = text[:-1]
    return text


def find_paraphrases(
    codec: Codec, corpus: Corpus, wanted: int, drawn: int, temperature: float, generation_kwargs: dict
) -> list[list[str]]:
    """At least `wanted` of each text if they are found, the nearest first, from `drawn` z in each of a few rounds."""
    ids = corpus.label_ids
    mean, stddev = (part.unsqueeze(1) for part in codec.posteriors(corpus))  # (N, 1, Z)
    read = [codec.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in corpus.labels]
    candidates = [Candidates(copies) for copies in zip(corpus.texts, read, strict=True)]
    one_each = generation_kwargs | {"num_return_sequences": 1}
    for attempt in range(ROUNDS):
        lacking = [i for i, found in enumerate(candidates) if len(found.texts) < wanted]
        if not lacking:
            break
        # For all texts, so that the noise of one does not depend on which others are drawn for again.
        noise = torch.randn(len(corpus), drawn, mean.shape[-1])
        around = (mean + temperature * GROWTH**attempt * stddev * noise)[lacking]
        written = codec.write_each(around, ids and [ids[i] for i in lacking], one_each)
        for i, texts in zip(lacking, written, strict=True):
            candidates[i].add(texts)
    return _nearest_first(codec, [found.texts for found in candidates], mean, ids)


def _nearest_first(
    codec: Codec, candidates: list[list[str]], mean: torch.Tensor, ids: list[int] | None
) -> list[list[str]]:
    """The candidates of each text by the distance of their own posterior mean from the text's (N, 1, Z)."""
    flat = [text for found in candidates for text in found]
    ids = ids and [i for i, found in zip(ids, candidates, strict=True) for _ in found]
    means, _ = codec.posteriors(codec.read(flat, ids))
    owns = means.split([len(found) for found in candidates])
    orders = [(own - center).norm(dim=-1).argsort().tolist() for own, center in zip(owns, mean, strict=True)]
    return [[found[i] for i in order] for found, order in zip(candidates, orders, strict=True)]

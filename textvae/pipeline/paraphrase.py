"""Paraphrases: texts written around the posterior of a source text, without copies of it, the best first.

N texts · M candidates of each · Z latent_size
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.config_fields import COUNT, NOT_NEGATIVE, SHARE, number, whole
from textvae.data.inference_batches import InferenceBatches
from textvae.data.normalization import normalization_of
from textvae.data.words import bare_words, exact_words, word_distance
from textvae.pipeline.codec import Codec
from textvae.pipeline.draws import finite_draws
from textvae.pipeline.ranking import Ranking, diverse

Scored = list[tuple[str, float]]
Paraphrases = list[str] | list[list[str]] | Scored | list[Scored]

ROUNDS = 4
GROWTH = 1.5  # of the temperature, from round to round


class Search(NamedTuple):
    """How paraphrases are looked for.

    Attributes:
        wanted: paraphrases of each text.
        drawn: z for each text in a round.
        temperature: of these z.
        min_distance: words in which a paraphrase differs from its text, at least.
        diversity: how much it counts that paraphrases of a text are unlike each other, from 0 to 1.
    """

    wanted: int
    drawn: int
    temperature: float
    min_distance: int
    diversity: float = 0.0


def as_search(
    wanted: object, drawn: object, temperature: object, min_distance: object, diversity: object = 0.0
) -> Search:
    """The search with these arguments of `paraphrase`; raises InputError if one of them cannot be used."""
    wanted = whole("num_return_sequences", wanted, COUNT)
    drawn = 4 * wanted if drawn is None else whole("num_candidates", drawn, COUNT)
    temperature = number("temperature", temperature, NOT_NEGATIVE)
    min_distance, diversity = whole("min_distance", min_distance, COUNT), number("diversity", diversity, SHARE)
    return Search(wanted, drawn, temperature, min_distance, diversity)


class Candidates:
    """Distinct texts that differ from each of the `copies` in `min_distance` words or more.

    If `exact`, every character counts; otherwise see [`bare_words`].
    """

    def __init__(self, copies: Sequence[str], min_distance: int, exact: bool = False):
        self.texts: list[str] = []
        self.words = exact_words if exact else bare_words
        self.copies, self.min_distance = {*map(self.words, copies)}, min_distance
        self.seen: set[tuple[str, ...]] = {()}

    def add(self, texts: Sequence[str]) -> None:
        for text in texts:
            words = self.words(text)
            if words not in self.seen and self._differs(words):
                self.seen.add(words)
                self.texts.append(text)

    def _differs(self, words: Sequence[str]) -> bool:
        return all(word_distance(words, copy) >= self.min_distance for copy in self.copies)


def every_character_counts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it was trained to change nothing, as for chemical formulas, in which "c" and "C" are two things."""
    return normalization_of(tokenizer) == "none"


def find_paraphrases(codec: Codec, source: InferenceBatches, search: Search, ranking: Ranking) -> list[Scored]:
    """Up to `search.wanted` paraphrases of each text and their scores, the best first.

    Args:
        codec: one that writes one text of each z.
        source: the N texts.

    Raises:
        InputError: if the temperature makes a z too large to compute with, or the scores cannot be used.
    """
    posteriors = codec.posteriors(source)
    candidates = _candidates(codec, source, search, *posteriors)
    if not any(candidates):
        return [[] for _ in candidates]
    scores = ranking(codec, source, posteriors, candidates)
    return [_chosen(texts, own, search) for texts, own in zip(candidates, scores, strict=True)]


def _candidates(
    codec: Codec, source: InferenceBatches, search: Search, mean: Tensor, stddev: Tensor
) -> list[list[str]]:
    """At least `search.wanted` texts around the posterior (N, Z) of each source, if so many are found."""
    ids = source.label_ids
    read = [codec.tokenizers.decoder.decode(tokens, skip_special_tokens=True) for tokens in source.target_ids]
    pairs = zip(source.texts, cast("list[str]", read), strict=True)
    exact = every_character_counts(codec.tokenizers.decoder)
    candidates = [Candidates(copies, search.min_distance, exact) for copies in pairs]
    # Of all rounds at once, so that the noise of a text depends neither on the other texts nor on what they still lack.
    noise = codec.draws.noise(len(source), ROUNDS, search.drawn, mean.shape[-1])
    for attempt in range(ROUNDS):
        lacking = [i for i, found in enumerate(candidates) if len(found.texts) < search.wanted]
        if not lacking:
            break
        away = search.temperature * GROWTH**attempt * stddev.unsqueeze(1) * noise[:, attempt]  # (N, M, Z)
        around = finite_draws(mean.unsqueeze(1) + away, search.temperature)[lacking]
        written = codec.write_each(around, ids and [ids[i] for i in lacking])
        for i, texts in zip(lacking, written, strict=True):
            candidates[i].add(texts)
    return [found.texts for found in candidates]


def _chosen(texts: list[str], scores: Tensor, search: Search) -> Scored:
    """The texts that are chosen by their scores (M,) and for diversity, and the scores."""
    return [(texts[i], float(scores[i])) for i in diverse(texts, scores, search.wanted, search.diversity)]


def without_scores(found: list[Scored]) -> list[list[str]]:
    """The texts alone."""
    return [[text for text, _ in scored] for scored in found]

"""Infilling, measured on words that were deleted from texts, and two ways to fill gaps without a text VAE.

Texts are split into words at spaces. K candidates for each text
"""

import heapq
import math
import random
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import torch

from textvae.data.gaps import GAP
from textvae.errors import InputError
from textvae.evaluation.judges import Judges, LanguageModel
from textvae.evaluation.metrics import corpus_bleu
from textvae.evaluation.quality import fluency
from textvae.evaluation.trigrams import END, START, Trigrams

MOST_DELETED = 3
USUAL, WAITING = 300, 2000  # of the trigram model: words that are tried anywhere, and beams behind a gap


class Gapped(NamedTuple):
    """A text from which words were deleted.

    Args:
        text: the whole text.
        words: its words; None for each gap.
        sizes: the number of words that each gap stands for.
    """

    text: str
    words: list[str | None]
    sizes: list[int]

    @property
    def template(self) -> str:
        """The text with a marker for each gap."""
        return " ".join(GAP if word is None else word for word in self.words)


def delete_words(texts: Sequence[str], num_texts: int, seed: int = 0) -> list[Gapped]:
    """Texts without one to three words: of half of them a run of words, of the others single words at random places.

    Neighbours among these are one gap. Texts of fewer than twice as many words are passed over, and so are those with
    other white space than single spaces.

    Raises:
        InputError: if there is no such text.
    """
    generator, found = random.Random(seed), []
    for text in generator.sample(list(texts), len(texts)):
        words, number = text.split(), generator.randint(1, MOST_DELETED)
        if len(words) < 2 * MOST_DELETED or " ".join(words) != text or GAP in text:
            continue
        start = generator.randint(0, len(words) - number)
        run, single = range(start, start + number), generator.sample(range(len(words)), number)
        found.append(_without(words, {*(run if len(found) % 2 else single)}))
        if len(found) == num_texts:
            return found
    if not found:
        raise InputError(f"No text has {2 * MOST_DELETED} words with single spaces between them: give longer ones.")
    return found


def _without(words: list[str], places: set[int]) -> Gapped:
    left: list[str | None] = []
    sizes: list[int] = []
    for place, word in enumerate(words):
        if place not in places:
            left.append(word)
        elif place - 1 in places:
            sizes[-1] += 1
        else:
            left.append(None)
            sizes.append(1)
    return Gapped(" ".join(words), left, sizes)


def measure_infilling(written: Sequence[Sequence[str]], gapped: Sequence[Gapped], judges: Judges) -> dict[str, float]:
    """What fills are worth, from K candidates for each text, the best first.

    Returns:
        `exact`: share of the texts whose first candidate is the text itself, and `exact_of_all`: whose candidates hold
        it. `bleu` of the first candidates and the texts, 0 to 100. With a judge: `fluency` of the first candidates,
        nats per token.
    """
    texts = [one.text for one in gapped]
    first = [own[0] if own else one.template for own, one in zip(written, gapped, strict=True)]
    values = {
        "exact": sum(map(str.__eq__, first, texts)) / len(texts),
        "exact_of_all": sum(text in own for text, own in zip(texts, written, strict=True)) / len(texts),
        "bleu": corpus_bleu(first, texts),
    }
    if judges.language_model is not None:
        values["fluency"] = fluency(judges.language_model, "fluency", first)["fluency"]
    return values


class TrigramFiller:
    """Fills gaps by the words under which the whole text is likeliest, and knows how many words are missing.

    The words on the right of a gap count as much as those on its left.
    """

    def __init__(self, trigrams: Trigrams):
        self.trigrams = trigrams
        self.usual = [word for word, _ in trigrams.counts[()].most_common(USUAL) if word != END]

    def fill(self, gapped: Gapped, number: int = 5, num_beams: int = 50) -> list[str]:
        """The `number` likeliest ways to fill the gaps, by a beam search."""
        sizes = iter(gapped.sizes)
        slots = list(chain.from_iterable([word] if word else [None] * next(sizes) for word in gapped.words))
        slots = [START, START, *slots, END]
        beams = [(0.0, [START, START])]  # log-probability and words
        for place, word in enumerate(slots[2:], 2):
            grown = [
                (log_p + math.log(self.trigrams.probability(own, (*words[-2:],))), [*words, own])
                for log_p, words in beams
                for own in ([word] if word else self._candidates(words))
            ]
            # The last word of a gap waits for the two behind it, since what comes before them makes them likely or not.
            waits = None in slots[place - 1 : place + 1] and slots[min(place + 1, len(slots) - 1)] is not None
            beams = heapq.nlargest(WAITING if waits else num_beams, grown, key=itemgetter(0))
        return [" ".join(words[2:-1]) for _, words in beams[:number]]

    def _candidates(self, words: list[str]) -> set[str]:
        """The words that have followed these in some text, and the usual ones."""
        counts = self.trigrams.counts
        return {*counts[(*words[-2:],)], *counts[(words[-1],)], *self.usual} - {END}


class LeftToRight:
    """A causal language model that sees only what stands before a gap, and is told how many words are missing."""

    def __init__(self, judge: LanguageModel):
        self.judge = judge

    def fill(self, gapped: Gapped, number: int = 5) -> list[str]:
        """The `number` likeliest fills of the first gap, by beams; later gaps of each are filled greedily."""
        texts, sizes = [""], iter(gapped.sizes)
        for word in gapped.words:
            if word is not None:
                texts = [f"{text} {word}".lstrip() for text in texts]
            else:
                size = next(sizes)
                num_beams = number if len(texts) == 1 else 1
                texts = [own for text in texts for own in self._continued(text, size, num_beams)]
        return list(dict.fromkeys(texts))

    @torch.no_grad()
    def _continued(self, text: str, size: int, num_beams: int) -> list[str]:
        """The text with `size` words more, `num_beams` times; of a beam with fewer words as many as there are."""
        tokenizer: Any = self.judge.tokenizer
        ids = [*self.judge.starts, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        model: Any = self.judge.model
        given = torch.tensor([ids], device=model.device)
        options = {"num_beams": num_beams, "num_return_sequences": num_beams, "do_sample": False}
        found = model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=3 * size + 2, pad_token_id=0, **options
        )
        more = tokenizer.batch_decode(found[:, len(ids) :], skip_special_tokens=True)
        return [" ".join([*text.split(), *own.split()[:size]]) for own in more]

"""Noisy texts, written clean by trigrams."""

import math
from collections.abc import Iterator

from textvae.data.edit_costs import COSTS, Costs
from textvae.data.gaps import GAP
from textvae.data.spelling import Spellings
from textvae.evaluation.trigrams import END, START, Trigrams, Words


class TrigramCleaner:
    """Finds the text with the highest probability less the costs of what is changed.

    It is a beam search over the words of the noisy text.
    """

    def __init__(self, trigrams: Trigrams, costs: Costs = COSTS, beams: int = 8, proposals: int = 8):
        """Learn the spellings of the words that the trigrams know.

        Args:
            costs: of what is changed; see [`textvae.data.edit_costs.Costs`].
            beams: unfinished texts that are kept at each word.
            proposals: words that are tried as a new or another word: the likeliest behind the two before.
        """
        self.trigrams, self.costs, self.beams, self.proposals = trigrams, costs, beams, proposals
        self.likely: dict[Words, list[str]] = {}
        self.spellings = Spellings(trigrams.counts[()])

    def clean(self, text: str) -> str:
        """The text, written clean."""
        noisy = text.split()
        behind: list[dict[Words, float]] = [{} for _ in range(len(noisy) + 2)]  # by the noisy words that are used up
        behind[0] = {(START, START): 0.0}
        for place in range(len(noisy) + 1):
            beam = self._best(behind[place])
            grown = dict(beam)
            for words, score in beam.items():
                for word in self._likely(words):
                    if word != END:
                        self._add(grown, words, [word], score - self.costs.insert)
            for words, score in self._best(grown).items():
                for new, used, cost in self._steps(noisy, place, words):
                    self._add(behind[place + used], words, new, score - cost)
        ends = {words: score for words, score in behind[len(noisy) + 1].items() if len(words) > 3}
        return " ".join(max(ends, key=lambda words: ends[words])[2:-1])

    def _steps(self, noisy: list[str], place: int, words: Words) -> Iterator[tuple[list[str], int, float]]:
        """The ways to go on: new words, how many noisy words they use up, and the cost."""
        if place == len(noisy):
            yield [END], 1, 0.0
            return
        word = noisy[place]
        likely = [other for other in self._likely(words) if other not in (END, word)]
        yield [], 1, self.costs.delete
        if word == GAP:
            yield from (([other], 1, 0.0) for other in likely)
            return
        yield [word], 1, 0.0
        yield from (([other], 1, self.costs.replace) for other in likely)
        yield from (([other], 1, self.costs.respell) for other in self.spellings.of(word) if other != word)
        if place + 1 < len(noisy) and GAP != noisy[place + 1] != word:
            yield [noisy[place + 1], word], 2, self.costs.swap

    def _likely(self, words: Words) -> list[str]:
        """The likeliest words behind these, from the longest context that was seen."""
        endings = (words[len(words) - length :] for length in (2, 1, 0))
        context = next(ending for ending in endings if ending in self.trigrams.totals)
        if context not in self.likely:
            self.likely[context] = [word for word, _ in self.trigrams.counts[context].most_common(self.proposals)]
        return self.likely[context]

    def _add(self, texts: dict[Words, float], words: Words, new: list[str], score: float) -> None:
        for word in new:
            score += math.log(self.trigrams.probability(word, words[-2:]))
            words = (*words, word)
        texts[words] = max(score, texts.get(words, -math.inf))

    def _best(self, texts: dict[Words, float]) -> dict[Words, float]:
        return dict(sorted(texts.items(), key=lambda one: -one[1])[: self.beams])

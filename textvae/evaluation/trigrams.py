"""A trigram model that repairs noisy texts: what a user could do without a text VAE."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from textvae.data.gaps import GAP
from textvae.data.noise import COSTS, Costs
from textvae.data.spelling import Spellings

START, END = "<s>", "</s>"

Words = tuple[str, ...]


class Trigrams:
    """A trigram model of words between spaces, smoothed as in Witten & Bell 1991.

    `repair` finds the text with the highest probability less the costs of what is changed, by a beam search over the
    words of the noisy text.
    """

    def __init__(self, texts: Sequence[str], costs: Costs = COSTS, beams: int = 8, proposals: int = 8):
        """Count the words of clean texts.

        Args:
            costs: of what is changed; see [`textvae.data.noise.Costs`].
            beams: unfinished texts that are kept at each word.
            proposals: words that are tried as a new or another word: the likeliest behind the two before.
        """
        self.costs, self.beams, self.proposals = costs, beams, proposals
        self.counts: dict[Words, Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = (START, START, *text.split(), END)
            for place in range(2, len(words)):
                for length in range(3):
                    self.counts[words[place - length : place]][words[place]] += 1
        self.totals = {context: counts.total() for context, counts in self.counts.items()}
        self.likely: dict[Words, list[str]] = {}
        self.spellings = Spellings(self.counts[()])

    def log_probability(self, word: str, context: Words) -> float:
        """log p(word | the two words before), in nats."""
        return math.log(self._probability(word, context))

    def _probability(self, word: str, context: Words) -> float:
        shorter = self._probability(word, context[1:]) if context else 1 / (len(self.counts[()]) + 1)
        if context not in self.totals:
            return shorter
        kinds, total = len(self.counts[context]), self.totals[context]
        return (self.counts[context][word] + kinds * shorter) / (total + kinds)

    def repair(self, text: str) -> str:
        """The text, repaired."""
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
        context = next(ending for ending in endings if ending in self.totals)
        if context not in self.likely:
            self.likely[context] = [word for word, _ in self.counts[context].most_common(self.proposals)]
        return self.likely[context]

    def _add(self, texts: dict[Words, float], words: Words, new: list[str], score: float) -> None:
        for word in new:
            score += self.log_probability(word, words[-2:])
            words = (*words, word)
        texts[words] = max(score, texts.get(words, -math.inf))

    def _best(self, texts: dict[Words, float]) -> dict[Words, float]:
        return dict(sorted(texts.items(), key=lambda one: -one[1])[: self.beams])

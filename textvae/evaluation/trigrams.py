"""Trigrams of words between spaces: what a user could repair texts and fill gaps with, without a text VAE."""

from collections import Counter, defaultdict
from collections.abc import Sequence

START, END = "<s>", "</s>"

Words = tuple[str, ...]


class Trigrams:
    """A trigram model, smoothed as by Witten & Bell (1991)."""

    def __init__(self, texts: Sequence[str]):
        """Count the words, pairs and triples of these texts."""
        self.counts: dict[Words, Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = (START, START, *text.split(), END)
            for place in range(2, len(words)):
                for length in range(3):
                    self.counts[words[place - length : place]][words[place]] += 1
        self.totals = {context: counts.total() for context, counts in self.counts.items()}

    def probability(self, word: str, context: Words) -> float:
        """p(word | the words before it, two at most), mixed with those of shorter contexts."""
        shorter = self.probability(word, context[1:]) if context else 1 / (len(self.counts[()]) + 1)
        if context not in self.totals:
            return shorter
        kinds, total = len(self.counts[context]), self.totals[context]
        return (self.counts[context][word] + kinds * shorter) / (total + kinds)

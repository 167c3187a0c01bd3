"""A language model that is quick to fit: trigrams of words with interpolated Kneser–Ney smoothing."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from textvae.data.words import bare_words
from textvae.errors import InputError
from textvae.evaluation.metrics import perplexity

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
NGram = tuple[str, ...]


class NGramModel:
    """Interpolated Kneser–Ney with one discount for each order (Kneser & Ney 1995; Chen & Goodman 1999, section 2.7).

    Case and the punctuation around words do not count. A word that is not in the vocabulary is the unknown word.
    """

    def __init__(self, texts: Sequence[str], vocabulary: Collection[str] | None = None, order: int = 3):
        """Count the n-grams of these texts.

        Args:
            vocabulary: words as `bare_words` gives them; those of the texts if not given. Perplexities under models of
                different texts are comparable only if the vocabulary is the same.

        Raises:
            InputError: if there is no text.
        """
        if not texts:
            raise InputError("A model of n-grams is fitted to texts, and there are none: give some.")
        read = [bare_words(text) for text in texts]
        self.order = order
        self.vocabulary = {word for words in read for word in words} if vocabulary is None else {*vocabulary}
        counts = Counter(ngram for words in read for ngram in self._ngrams(words))
        self.levels = []  # from the longest n-grams to single words
        for _ in range(order):
            self.levels.append(_Level(counts))
            counts = Counter(ngram[1:] for ngram in counts)  # the number of words that were seen before each

    def probability(self, word: str, before: Sequence[str] = ()) -> float:
        """p(word | the words before it in its text); the word may be `</s>`, the end, or `<unk>`."""
        padded = (START,) * (self.order - 1) + self._known([*before, word])
        return self._probability(padded[-self.order :])

    def nats(self, text: str) -> float:
        """−log p of a text and of its end."""
        return -sum(math.log(self._probability(ngram)) for ngram in self._ngrams(bare_words(text)))

    def perplexity(self, texts: Sequence[str]) -> float:
        """exp(nats / number of words), where the end of each text counts as a word."""
        return perplexity(sum(map(self.nats, texts)), sum(len(bare_words(text)) + 1 for text in texts))

    def _probability(self, ngram: NGram) -> float:
        likely = 1 / (len(self.vocabulary) + 2)  # with the end and the unknown word
        for length, level in enumerate(reversed(self.levels), 1):
            likely = level.interpolate(ngram[-length:], likely)
        return likely

    def _ngrams(self, words: Sequence[str]) -> Iterator[NGram]:
        """The n-gram that ends with each word, and with the end."""
        padded = (START,) * (self.order - 1) + self._known([*words, END])
        return (padded[end - self.order : end] for end in range(self.order, len(padded) + 1))

    def _known(self, words: Sequence[str]) -> NGram:
        return tuple(word if word in self.vocabulary or word == END else UNKNOWN for word in words)


class _Level:
    """The counts of n-grams of one length, and how much of them goes to shorter ones."""

    def __init__(self, counts: Counter[NGram]):
        self.counts, self.total, self.kinds = counts, Counter[NGram](), Counter[NGram]()
        for ngram, count in counts.items():
            self.total[ngram[:-1]] += count
            self.kinds[ngram[:-1]] += 1
        of_counts = Counter(counts.values())
        once, twice = of_counts[1], of_counts[2]
        self.discount = once / (once + 2 * twice) if once else 0.5

    def interpolate(self, ngram: NGram, shorter: float) -> float:
        """p of the last word after the others, where `shorter` is its p after one word less."""
        if not (total := self.total[ngram[:-1]]):
            return shorter
        kept = max(self.counts[ngram] - self.discount, 0)
        return (kept + self.discount * self.kinds[ngram[:-1]] * shorter) / total

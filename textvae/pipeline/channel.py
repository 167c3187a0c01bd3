"""The noisy channel: what it costs, in nats, that a text became the noisy one, while the text is being written.

A text is words and runs of punctuation, which are aligned with those of the noisy text at the least cost. The cost of
an unfinished text is that of its cheapest alignment with any beginning of the noisy text.

S words of the noisy text · V vocabulary · C tokens
"""

import math
import re
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.data.continuations import continuations
from textvae.data.edit_costs import Costs
from textvae.data.gaps import GAP, is_gap
from textvae.data.spelling import Spellings, is_respelled
from textvae.data.words import separate_words

_WORDS = re.compile(r"[\w'’-]+|[^\w\s]+")
_LETTERS = re.compile(r"[\w'’-]")

Words = tuple[str, ...]

WORD, REST_OF_WORD = -9.0, -0.5  # least log-probabilities of what is copied
RUN_ON = 3.0  # nats for each further piece of a word that is not copied, or it could go on without end


def words_of(text: str) -> Words:
    return tuple(_WORDS.findall(separate_words(text)))


class Pieces:
    """What each token of a tokenizer adds to a text.

    Attributes:
        texts: of each token, with the space before it if there is one.
        kinds: (V,) of each token: `SPACED` if it begins a word wherever it stands, else whether it goes on with
            `LETTERS` or with `SIGNS`.
        empty: (V,) whether it adds nothing, as special tokens.
    """

    SPACED, LETTERS, SIGNS = range(3)

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        ids = range(max(tokenizer.get_vocab().values()) + 1)
        self.texts = continuations(tokenizer, [[i] for i in ids], skip_special_tokens=True)
        self.kinds = np.array([self._kind(text) for text in self.texts])
        self.empty = np.array([not text for text in self.texts])

    def _kind(self, text: str) -> int:
        if not text or text[0].isspace():
            return self.SPACED
        return self.LETTERS if _LETTERS.match(text) else self.SIGNS

    @cached_property
    def spellings(self) -> Spellings:
        """Of the tokens that are whole words."""
        return Spellings(self.tokens_of)

    @cached_property
    def tokens_of(self) -> dict[str, list[int]]:
        """The tokens that are these words."""
        found: dict[str, list[int]] = {}
        for i, text in enumerate(self.texts):
            if text[:1].isspace() and _LETTERS.match(text[1:]):
                found.setdefault(text[1:], []).append(i)
        return found

    def respelled(self, word: str) -> set[int]:
        """The tokens that are another spelling of a word."""
        return {i for known in self.spellings.of(word) for i in self.tokens_of[known]}


@lru_cache(maxsize=4)
def pieces_of(tokenizer: PreTrainedTokenizerBase) -> Pieces:
    """Those of this tokenizer; all its tokens are decoded once."""
    return Pieces(tokenizer)


class Alignment:
    """The costs of what may be written next, for one noisy text."""

    def __init__(self, noisy: str, own_tokens: Sequence[int], end: int, pieces: Pieces, costs: Costs):
        """`own_tokens` are those of the noisy text, and `end` is EOS."""
        self.noisy = tuple(GAP if is_gap(word) else word for word in words_of(noisy))
        self.end, self.pieces, self.costs = end, pieces, costs
        self.successors: dict[int, set[int]] = {}  # of each token in the noisy text
        for token, following in zip(own_tokens, own_tokens[1:], strict=False):
            self.successors.setdefault(token, set()).add(following)
        # Tokens that are looked at by themselves.
        self.always = {i for i in own_tokens if pieces.kinds[i] == Pieces.SIGNS or pieces.texts[i].isspace()}
        self.other = np.where([word == GAP for word in self.noisy], 0.0, costs.replace)  # (S,)
        self.deletions = costs.delete * np.arange(len(self.noisy) + 1)
        self.rows: dict[Words, np.ndarray] = {(): self.deletions}
        self.against: dict[tuple[str, bool], np.ndarray] = {}
        self.swaps: dict[Words, list[int]] = {}  # where two words stand in the other order
        for place in range(2, len(self.noisy) + 1):
            self.swaps.setdefault(self.noisy[place - 2 : place][::-1], []).append(place)
        self.own = {i for i in own_tokens if pieces.texts[i].strip() and pieces.kinds[i] == Pieces.SPACED}
        self.near = sorted(self.own.union(*(pieces.respelled(word) for word in self.noisy if word != GAP)))
        self.near_words = [pieces.texts[i].strip() for i in self.near]
        near_costs = [self._against(word, is_open=True) for word in self.near_words]
        self.near_costs = np.array(near_costs).reshape(-1, len(self.noisy))  # (C, S)

    def total(self, text: str) -> float:
        """The cost of a finished text."""
        return float(self._row(words_of(text))[-1])

    def so_far(self, text: str) -> float:
        """The cost of an unfinished text, whose last word may go on."""
        *before, last = words_of(text) or ("",)
        if not last:
            return float(self.rows[()].min())
        return float(self._next(tuple(before), last, self._against(last, is_open=True)).min())

    def ahead(self, tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """What each next token adds to the cost of these tokens, and the least log-probability it counts with: (V,)."""
        text = "".join(self.pieces.texts[i] for i in tokens)
        words, base = words_of(text), self.so_far(text)
        fresh = self._next(words, "", self.other).min()  # a word like no other
        grown = self._next(words[:-1], "", self.other).min() if words else fresh  # if the last word becomes one
        kinds, goes_on = self.pieces.kinds, self._kind_of_last(text)
        added = np.where(kinds == goes_on, grown + RUN_ON, fresh) - base
        added[self.pieces.empty] = math.inf  # special tokens, which an untrained decoder would fill gaps with
        if self.near:
            added[self.near] = self._next(words, "", self.near_costs).min(-1) - base
        following = self.successors.get(tokens[-1], set()) if tokens else set()
        for i in following | self.always:
            added[i] = self.so_far(text + self.pieces.texts[i]) - base
        for word, place in self._swapped(words):
            added[place] = min(added[place], self.so_far(f"{text} {word}") - base)
        added[self.end] = self._row(words)[-1] - base
        least = np.full(len(added), -math.inf)
        if fresh > base:  # no gap, which any word fills
            copied = [i for i in following | self.always | self.own if added[i] <= 0]
            least[copied] = [REST_OF_WORD if kinds[i] == goes_on else WORD for i in copied]
        return added, least

    def _swapped(self, words: Words) -> list[tuple[str, int]]:
        """The words, and their tokens, that come before the last one in the noisy text."""
        if not words:
            return []
        places = {pair[1] for pair in self.swaps if pair[0] == words[-1]}
        return [(word, token) for word, token in zip(self.near_words, self.near, strict=True) if word in places]

    def _kind_of_last(self, text: str) -> int | None:
        """The kind of the tokens with which the last word would go on."""
        if not text or text[-1].isspace():
            return None
        return Pieces.LETTERS if _LETTERS.match(text[-1]) else Pieces.SIGNS

    def _against(self, word: str, is_open: bool = False) -> np.ndarray:
        """The cost of each word of the noisy text in the place of this one: (S,)."""
        key = word, is_open
        if key not in self.against:
            self.against[key] = np.array([self._cost(word, other, is_open) for other in self.noisy])
        return self.against[key]

    def _cost(self, word: str, other: str, is_open: bool) -> float:
        if other in (word, GAP) or (is_open and other.startswith(word)):
            return 0.0
        return self.costs.respell if is_respelled(word, other) else self.costs.replace

    def _row(self, words: Words) -> np.ndarray:
        """The cost of these words beside each beginning of the noisy text: (S + 1,)."""
        if words not in self.rows:
            self.rows[words] = self._next(words[:-1], words[-1], self._against(words[-1]))
        return self.rows[words]

    def _next(self, before: Words, word: str, costs: np.ndarray) -> np.ndarray:
        """The row behind one more word that costs (…, S) in place of each noisy one: (…, S + 1)."""
        row = self._row(before)
        reached = np.empty((*costs.shape[:-1], len(row)))
        reached[...] = row + self.costs.insert
        reached[..., 1:] = np.minimum(reached[..., 1:], row[:-1] + costs)
        for place in self.swaps.get((before[-1], word), []) if before else []:
            reached[place] = min(reached[place], self._row(before[:-1])[place - 2] + self.costs.swap)
        return np.minimum.accumulate(reached - self.deletions, axis=-1) + self.deletions


class Closeness:
    """A logits processor: takes from each token's log-probability `weight` times what it adds to the cost.

    A token that is copied counts with a probability that is not too small: the decoder need not know a rare word, nor
    how it is spelled.
    """

    def __init__(self, alignments: Sequence[Alignment], weight: float):
        self.alignments, self.weight = alignments, weight

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        each = len(input_ids) // len(self.alignments)  # beams
        written = input_ids[:, 1:].tolist()  # without what the decoder starts from
        pairs = [self.alignments[row // each].ahead(tokens) for row, tokens in enumerate(written)]
        added, least = (torch.from_numpy(np.stack(arrays)).to(scores) for arrays in zip(*pairs, strict=True))
        vocab = added.shape[1]
        scores[:, :vocab] = torch.maximum(scores[:, :vocab], least) - self.weight * added
        return scores

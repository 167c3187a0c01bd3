"""Templates: texts with gaps, and how a tokenizer writes what is given around each gap.

V vocabulary
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.data.continuations import WORD, continuations
from textvae.data.gaps import DRAWN, GAP
from textvae.data.special_tokens import UNK, special_tokens
from textvae.errors import InputError, shown

# A word of one token, mostly: the tokens of what follows it are those of a text that goes on.
_WORDS = (WORD, "a", "0", "-", "é")


class Template(NamedTuple):
    """A text with gaps.

    Attributes:
        segments: what is given before the first gap, between gaps, and behind the last one: one more than gaps.
        tokens: those of each segment. A space before a gap is left to the gap, and the last ones end with EOS.
    """

    segments: list[str]
    tokens: list[list[int]]

    @property
    def num_gaps(self) -> int:
        return len(self.segments) - 1

    @property
    def num_given(self) -> int:
        """Tokens that are given, EOS included."""
        return sum(map(len, self.tokens))

    def filled(self, fills: Sequence[str]) -> str:
        """The text with these fills: the segments stay, character by character.

        Only where a gap stays empty between two spaces, one of them goes; the ends of a text count as spaces.
        """
        text = self.segments[0]
        for fill, segment in zip(fills, self.segments[1:], strict=True):
            is_behind_space = not text or text[-1].isspace()
            text += segment[1:] if not fill and is_behind_space and segment[:1].isspace() else fill + segment
        return text if fills[-1] or self.segments[-1] else text.removesuffix(" ")


def split_at_gaps(text: str, marker: str) -> list[str]:
    """What is given around the gaps; raises InputError if there is no gap, or no word beside them."""
    segments = re.split(DRAWN if marker == GAP else re.escape(marker), text)
    if len(segments) == 1:
        raise InputError(f"{shown(text)} has no gap: write {marker} where words are missing.")
    if not any(segment.strip() for segment in segments):
        raise InputError(f"{shown(text)} has no word beside its gaps: give one, or use sample.")
    return segments


class GapTokens(NamedTuple):
    """What a tokenizer may write into a gap.

    Attributes:
        inside: (V,), whether a token is no special one.
        starts: (V,), whether it begins with a space, too.
    """

    tokenizer: PreTrainedTokenizerBase
    inside: Tensor
    starts: Tensor

    def template(self, segments: list[str]) -> Template:
        """The template with these segments."""
        first, *others = [segment.rstrip(" ") for segment in segments]
        tokens = [_start(self.tokenizer, first), *(_continued(self.tokenizer, other) for other in others)]
        tokens[-1] = [*tokens[-1], special_tokens(self.tokenizer).eos_token_id]
        return Template(segments, tokens)

    def first(self, segment: str) -> Tensor:
        """(V,), whether a token may be the first one in a gap behind this segment: behind a space, one with a space."""
        if not segment.strip(" ") or segment[-1] in "\n\t":
            return self.inside
        own = self.starts if segment.endswith(" ") else self.inside & ~self.starts
        return own if own.any() else self.inside

    def written(self, fills: Sequence[list[int]]) -> list[str]:
        """The fills as text, without spaces around them; "" for one that is blank or no valid UTF-8."""
        texts = continuations(self.tokenizer, fills)
        return ["" if "\ufffd" in text else text.strip() for text in texts]


@functools.lru_cache(maxsize=4)
def gap_tokens(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> GapTokens:
    """What this tokenizer may write into a gap; `vocab_size` is that of the model, perhaps larger."""
    vocabulary = tokenizer.get_vocab()
    special = {*tokenizer.all_special_ids, vocabulary.get(UNK)}
    special |= {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    ids = sorted({*vocabulary.values()} - special)
    texts = continuations(tokenizer, [[token] for token in ids])
    inside, starts = torch.zeros(2, vocab_size, dtype=torch.bool)
    inside[ids] = True
    starts[[token for token, text in zip(ids, texts, strict=True) if text[:1].isspace()]] = True
    return GapTokens(tokenizer, inside, starts)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def _start(tokenizer: PreTrainedTokenizerBase, segment: str) -> list[int]:
    """The tokens of a segment at the start of a text."""
    return _ids(tokenizer, segment) if segment else []


def _continued(tokenizer: PreTrainedTokenizerBase, segment: str) -> list[int]:
    """The tokens of a segment behind a word: those of "word + segment" without those of the word."""
    for word in _WORDS:
        before, both = _ids(tokenizer, word), _ids(tokenizer, word + segment)
        if both[: len(before)] == before:
            return both[len(before) :]
    return _ids(tokenizer, segment)

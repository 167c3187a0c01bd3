"""Gaps: words of a text that are missing, written `___`, which the encoder reads as masked."""

import re

from textvae.data.special_tokens import SpecialIds
from textvae.data.tokenizer_pair import TokenizerPair

GAP = "___"
DRAWN = rf"{GAP}_*"  # as a pattern: a gap may be drawn longer
_GAPS = re.compile(rf"\s*(?<!\w){DRAWN}(?!\w)")


def is_gap(word: str) -> bool:
    """Whether this word is a gap, however long it was drawn."""
    return re.fullmatch(DRAWN, word) is not None


def mask_gaps(texts: list[str], rows: list[list[int]], tokenizers: TokenizerPair) -> list[list[int]]:
    """The token ids of each text with the mask token in place of the tokens of each gap.

    Args:
        rows: what `tokenize` gives for the texts. Without a mask and an unknown token they stay as they are.
    """
    special = SpecialIds(tokenizers.reading)
    if special.blank is None:
        return rows
    return [
        _masked(text, ids, tokenizers, special.blank) if _GAPS.search(text) else ids
        for text, ids in zip(texts, rows, strict=True)
    ]


def _masked(text: str, ids: list[int], tokenizers: TokenizerPair, blank: int) -> list[int]:
    offsets = tokenizers.reading(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    gaps = [gap.span() for gap in _GAPS.finditer(text)]
    masked, last = [], None
    # One more where EOS was added to what the tokenizer gives, and fewer where the text was cut.
    for token, (start, end) in zip(ids, [*offsets, (0, 0)], strict=False):
        gap = next((gap for gap in gaps if start < gap[1] and gap[0] < end), None)
        if gap is None:
            masked.append(token)
        elif gap != last:
            masked.append(blank)
        last = gap
    return masked

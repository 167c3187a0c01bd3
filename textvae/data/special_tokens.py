"""Special tokens: how they are written, and what batches must know of them."""

from typing import Protocol, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

PAD, UNK, BOS, EOS, MASK = "<pad>", "<unk>", "<s>", "</s>", "<mask>"
IGNORED = -100  # a target that no loss counts, as in every model of transformers


class SpecialTokens(Protocol):
    """The special tokens of a tokenizer that has EOS and padding, as every one that a model is used with."""

    pad_token_id: int
    eos_token_id: int
    bos_token_id: int | None
    cls_token_id: int | None
    mask_token_id: int | None
    unk_token_id: int | None
    unk_token: str | None


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """The tokenizer itself, with types for attributes to which transformers gives none."""
    return cast(SpecialTokens, tokenizer)


def leading_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the BOS or CLS token that a tokenizer puts before every text; None if it puts none.

    A decoder starts from this token and never writes it.
    """
    first = tokenizer("a")["input_ids"][0]
    tokens = special_tokens(tokenizer)
    return first if first in {tokens.bos_token_id, tokens.cls_token_id} else None


class SpecialIds:
    """The ids of a tokenizer that batches and their noise need.

    Attributes:
        pad: of padding.
        leading: see [`leading_token`].
        start: what a decoder starts from: BOS, CLS or, where there is neither, EOS.
        blank: what a masked token becomes: the mask token or the unknown token; None if there is neither.
        ordinary: the ids of all other tokens, sorted.
        is_special: for each id whether it is special; noise never touches these.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        tokens = special_tokens(tokenizer)
        starts = [i for i in (tokens.bos_token_id, tokens.cls_token_id) if i is not None]
        self.pad = tokens.pad_token_id
        self.leading = leading_token(tokenizer)
        self.start = starts[0] if starts else tokens.eos_token_id
        blanks = (tokens.mask_token_id, tokens.unk_token_id, tokenizer.get_vocab().get(UNK))
        self.blank = next((i for i in blanks if i is not None), None)
        ids = np.array(sorted(tokenizer.get_vocab().values()))
        ends = {tokens.bos_token_id, tokens.eos_token_id}  # GPT-2 uses its EOS as the unknown token, too
        word = None if tokens.unk_token_id in ends else tokens.unk_token_id
        special = np.isin(ids, [i for i in tokenizer.all_special_ids if i != word])
        self.ordinary = ids[~special]
        self.is_special = np.zeros(ids[-1] + 1, dtype=bool)
        self.is_special[ids[special]] = True

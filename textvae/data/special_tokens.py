"""Special tokens: how they are written, and what batches must know of them."""

import numpy as np
from transformers import PreTrainedTokenizerBase

PAD, UNK, BOS, EOS, MASK = "<pad>", "<unk>", "<s>", "</s>", "<mask>"
IGNORED = -100  # a target that no loss counts, as in every model of transformers


def leading_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the BOS or CLS token that a tokenizer puts before every text; None if it puts none.

    A decoder starts from this token and never writes it.
    """
    first = tokenizer("a")["input_ids"][0]
    return first if first in {tokenizer.bos_token_id, tokenizer.cls_token_id} else None


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
        starts = [i for i in (tokenizer.bos_token_id, tokenizer.cls_token_id) if i is not None]
        self.pad = tokenizer.pad_token_id
        self.leading = leading_token(tokenizer)
        self.start = starts[0] if starts else tokenizer.eos_token_id
        blanks = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.get_vocab().get(UNK))
        self.blank = next((i for i in blanks if i is not None), None)
        ids = np.array(sorted(tokenizer.get_vocab().values()))
        ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}  # GPT-2 uses its EOS as the unknown token, too
        word = None if tokenizer.unk_token_id in ends else tokenizer.unk_token_id
        special = np.isin(ids, [i for i in tokenizer.all_special_ids if i != word])
        self.ordinary = ids[~special]
        self.is_special = np.zeros(ids[-1] + 1, dtype=bool)
        self.is_special[ids[special]] = True

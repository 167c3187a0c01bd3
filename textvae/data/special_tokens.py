"""Special tokens: how they are written, and what a model and its batches must know of them."""

import numpy as np
from transformers import PreTrainedTokenizerBase

PAD, UNK, BOS, EOS, MASK = "<pad>", "<unk>", "<s>", "</s>", "<mask>"


def leading_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The BOS or CLS that it puts in front of every text, which a decoder is told and never writes; None for none."""
    first = tokenizer("a")["input_ids"][0]
    return first if first in {tokenizer.bos_token_id, tokenizer.cls_token_id} else None


IGNORED = -100


class SpecialIds:
    """What batches and their noise need to know of a tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        starts = [i for i in (tokenizer.bos_token_id, tokenizer.cls_token_id) if i is not None]
        self.pad = tokenizer.pad_token_id
        self.leading = leading_token(tokenizer)
        self.start = starts[0] if starts else tokenizer.eos_token_id
        blanks = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.get_vocab().get("<unk>"))
        self.blank = next((i for i in blanks if i is not None), None)
        ids = np.array(sorted(tokenizer.get_vocab().values()))
        ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}  # one of which GPT-2 calls unknown, too
        word = None if tokenizer.unk_token_id in ends else tokenizer.unk_token_id
        special = np.isin(ids, [i for i in tokenizer.all_special_ids if i != word])
        self.ordinary = ids[~special]
        self.is_special = np.zeros(ids[-1] + 1, dtype=bool)
        self.is_special[ids[special]] = True

"""Continuations: what tokens write behind a word, where they have the spaces that the start of a text has not."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

WORD = "x"  # of one token, mostly


def continuations(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]], skip_special_tokens: bool = False
) -> list[str]:
    """The text that each row of token ids adds to a word."""
    word = tokenizer(WORD, add_special_tokens=False, verbose=False)["input_ids"]
    options = {"skip_special_tokens": skip_special_tokens, "clean_up_tokenization_spaces": False}
    before, *texts = tokenizer.batch_decode([word, *([*word, *row] for row in rows)], **options)
    return [text[len(before) :] for text in texts]

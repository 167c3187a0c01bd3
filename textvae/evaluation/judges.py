"""Judges: pretrained models that read what a text VAE writes. None of them needs to know it.

N texts · B batch · T length · H size of an embedding

Neither batch size nor the number of processes changes a result, and mixed precision does not hold for a judge.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textvae.data.inference_batches import shared_rounds
from textvae.data.special_tokens import leading_token, special_tokens
from textvae.data.tokenization import check_vocabulary, open_tokenizer
from textvae.errors import InputError, require_scikit_learn
from textvae.modeling.families import num_positions, token_embeddings
from textvae.modeling.pretrained import load_encoder, load_language_model
from textvae.processes import gather_rows

LONGEST = 512  # tokens of a text; the rest is not read
TOKENS_AT_ONCE = 2**11  # so many logits of a large vocabulary fit into memory
BETWEEN_TEXTS = "<|endoftext|>"  # of GPT-2, Qwen, SmolLM2 and others, whose BOS may be the start of a chat


class LanguageModel:
    """A causal language model, to which a fluent text is likely."""

    def __init__(self, name: str, device: torch.device):
        """Open the model, by path or Hub name; raises InputError if that cannot be."""
        self.model, self.tokenizer = _on_device(load_language_model(name), device), _open_tokenizer(name)
        self.starts = start_of_text(self.tokenizer)
        _check_sizes(self.model, self.tokenizer, name)

    def nats(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """−log p of each text, and the number of its tokens that this counts: two times (N,).

        Every token is predicted from the start of a text on, but not its end. For a tokenizer that has neither a
        start nor an end of text, the first token is not counted either. An empty text has no nats and no token.
        """
        read = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        limit = _limit(self.model) + 1  # the last token is only predicted
        rows = [[*self.starts, *ids][:limit] for ids in read]
        nats = _read(rows, self._nats, self.model.device, "judging")
        return nats, torch.tensor([max(0, len(row) - 1) for row in rows])

    def _nats(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B,) for token ids (B, T), of which the first is given."""
        # Padding on the right changes nothing, and attention to no token at all would give NaN.
        read = ids[:, :-1]
        logits = self.model(input_ids=read, attention_mask=torch.ones_like(read)).logits.float()  # (B, T - 1, V)
        nats = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return (nats.view(len(ids), -1) * mask[:, 1:]).sum(1)


class SentenceEncoder:
    """An encoder whose states, averaged over a text and with norm 1, are near for texts that are alike."""

    def __init__(self, name: str, device: torch.device):
        """Open the encoder, by path or Hub name; raises InputError if that cannot be."""
        self.model, self.tokenizer = _on_device(load_encoder(name, torch.float32), device), _open_tokenizer(name)
        _check_sizes(self.model, self.tokenizer, name)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(N, H), on the CPU. An empty text is read as padding."""
        return _read(self._tokenize(texts), self._embed, self.model.device, "embedding")

    @torch.no_grad()
    def embed_batch(self, texts: Sequence[str]) -> Tensor:
        """The same (B, H) of a batch of this process alone, on the encoder's device and in the caller's precision."""
        return self._embed(*_padded(self._tokenize(texts), self.model.device))

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        read = self.tokenizer(list(texts), truncation=True, max_length=_limit(self.model))["input_ids"]
        return [ids or [0] for ids in read]

    def _embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()  # (B, T, H)
        return nn.functional.normalize((states * mask[..., None]).sum(1), dim=-1)


class Judges(NamedTuple):
    """The judges of an evaluation; None where there is none."""

    language_model: LanguageModel | None
    encoder: SentenceEncoder | None


def open_judges(judge: str | None, judge_encoder: str | None, device: torch.device) -> Judges:
    """The judges with these names or paths.

    Raises:
        InputError: if one of them cannot be opened, or for an encoder without scikit-learn, which MAUVE needs.
    """
    if judge_encoder is not None:
        require_scikit_learn()
    return Judges(
        None if judge is None else LanguageModel(judge, device),
        None if judge_encoder is None else SentenceEncoder(judge_encoder, device),
    )


def start_of_text(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The id that texts of the model's training began with: [] if the tokenizer knows none.

    It is what the tokenizer puts before a text, or else what stands between texts, or else BOS or EOS.
    """
    tokens = special_tokens(tokenizer)
    between = tokenizer.get_vocab().get(BETWEEN_TEXTS)
    known = (leading_token(tokenizer), between, tokens.bos_token_id, tokens.eos_token_id)
    return [next(token for token in known if token is not None)] if any(token is not None for token in known) else []


@torch.no_grad()
def _read(
    rows: list[list[int]], function: Callable[[Tensor, Tensor], Tensor], device: torch.device, name: str
) -> Tensor:
    """`function` of token ids and mask (B, T), T at least 2, of all rows (N, …); the processes share the batches."""
    lengths = [max(2, len(row)) for row in rows]
    batch_size = max(1, TOKENS_AT_ONCE // max(lengths))
    found = []
    with torch.autocast(device.type, enabled=False):
        for batch in chain.from_iterable(shared_rounds(range(len(rows)), lengths, batch_size, name)):
            found.append((batch, {"value": function(*_padded([rows[i] for i in batch], device)).cpu()}))
    return gather_rows(found)["value"]


def _padded(rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask, (B, T) with T at least 2."""
    width = max(2, *map(len, rows))
    ids = [row + [0] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _on_device(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """The model on this device, in evaluation mode."""
    return model.to(device).eval()  # pyright: ignore[reportArgumentType]


def _open_tokenizer(name: str) -> PreTrainedTokenizerBase:
    tokenizer = open_tokenizer(name)
    check_vocabulary(tokenizer, name)
    return tokenizer


def _check_sizes(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    size = token_embeddings(model).num_embeddings
    if len(tokenizer) > size:
        raise InputError(
            f"The tokenizer of {name!r} has {len(tokenizer)} tokens and the model {size}: give the directory of a "
            "model with its own tokenizer."
        )


def _limit(model: PreTrainedModel) -> int:
    """The maximum number of tokens that the model reads of a text."""
    return min(LONGEST, num_positions(model) or LONGEST)

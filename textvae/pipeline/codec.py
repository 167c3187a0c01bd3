"""Codec: texts to posteriors, and z to texts, in batches: what the verbs of a pipeline are made of.

N texts · M written for each · Z latent_size
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from textvae.data.inference_batches import Corpus
from textvae.data.labels import label_ids, listed
from textvae.data.tokenize import tokenize
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel

logger = logging.getLogger(__name__)

Label = str | int | Sequence[str | int] | None
Written = str | list[str] | list[list[str]]

QUIET_BATCHES = 8  # up to so many need no progress bar


@dataclass
class Codec:
    """A model and its tokenizers at work on batches of at most `batch_size` texts.

    `ids` are those of the labels of N texts, or None with a model that has no labels.
    """

    model: TextVAEModel
    tokenizer: PreTrainedTokenizerBase
    encoder_tokenizer: PreTrainedTokenizerBase | None
    batch_size: int
    progress: bool

    def __post_init__(self):
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}, it must be at least 1.")

    def label_ids(self, label: Label, count: int) -> list[int] | None:
        """The id of the label of each of so many texts.

        Raises:
            InputError: if the model has labels and none is given, the other way round, or one is unknown.
        """
        names = self.model.config.label_names
        if not names:
            if label is not None:
                raise InputError("This model has no labels: leave label out.")
            return None
        if label is None:
            raise InputError(f"This model has labels: give label, one of {listed(names)}, or a list of one for each.")
        labels = [label] * count if isinstance(label, str | int) else list(label)
        if len(labels) != count:
            raise InputError(f"There are {len(labels)} labels for {count}: give one for all, or a list of {count}.")
        return label_ids(labels, names)

    @torch.no_grad()
    def prior(self, ids: list[int] | None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of p(z) for texts of these labels: two times (N, Z) or (1, Z), on the CPU."""
        mean, logvar = self.model.prior_parameters(self._on_device(ids))
        return mean.cpu(), (logvar / 2).exp().cpu()

    def read(self, texts: list[str], ids: list[int] | None) -> Corpus:
        columns = {"input_ids": [], "labels": [], "truncated": []}
        max_length = self.tokenizer.model_max_length
        if texts:
            columns = tokenize({"text": texts}, self.tokenizer, max_length, self.encoder_tokenizer)
        if any(columns["truncated"]):
            logger.warning("%d of %d texts were cut to %d tokens", sum(columns["truncated"]), len(texts), max_length)
        columns |= {"text": texts} if ids is None else {"text": texts, "label_id": ids}
        return Corpus(columns, self.tokenizer, self.model.device, self.batch_size, self.encoder_tokenizer)

    def posteriors(self, corpus: Corpus) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x) of all texts: two times (N, Z), on the CPU."""

        @torch.no_grad()  # and not inference mode, whose tensors the user could not train anything on
        def encode(indices: list[int]) -> Tensor:
            batch = corpus.batch(indices)
            posterior = self.model.encode(batch["input_ids"], batch["attention_mask"], batch.get("label_ids"))
            return torch.stack([posterior.mean, posterior.stddev], dim=1).cpu()  # (B, 2, Z)

        rows = self.in_batches(encode, corpus.lengths, "encoding")
        rows = torch.stack(rows) if rows else torch.empty(0, 2, self.model.config.latent_size)
        return rows.unbind(1)

    def write(
        self, latents: Tensor, ids: list[int] | None, generation_kwargs: dict, lengths: list[int] | None = None
    ) -> Written:
        """The text of each z (N, Z), or a list of its texts where `num_return_sequences` is above 1.

        `lengths`, where they can be guessed, keep a long text from holding up short ones.
        """
        own_limit = {"max_new_tokens", "max_length", "generation_config"} & generation_kwargs.keys()
        limit = {} if own_limit else {"max_new_tokens": self.tokenizer.model_max_length}

        def write(indices: list[int]) -> Written:
            own_ids = self._on_device(ids and [ids[i] for i in indices])
            own = latents[indices].to(self.model.device)
            tokens = self.model.generate(own, label_ids=own_ids, **limit, **generation_kwargs)
            texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            k = len(texts) // len(indices)
            return texts if k == 1 else groups(texts, k)

        return self.in_batches(write, lengths or [0] * len(latents), "decoding")

    def write_each(self, latents: Tensor, ids: list[int] | None, generation_kwargs: dict) -> list[list]:
        """The texts of (N, M, Z), M for each of N and its label."""
        count = latents.shape[1]
        ids = ids and [i for i in ids for _ in range(count)]
        return groups(self.write(latents.flatten(0, 1), ids, generation_kwargs), count)

    def in_batches(self, function: Callable[[list[int]], Sequence], lengths: list[int], name: str) -> list:
        """One result for each index, in order; `function` is given batches of similar length, longest first."""
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        batches = groups(order, self.batch_size)
        is_quiet = not self.progress or len(batches) <= QUIET_BATCHES
        results = [None] * len(order)
        for batch in tqdm(batches, desc=name, leave=False, disable=is_quiet):
            for index, result in zip(batch, function(batch), strict=True):
                results[index] = result
        return results

    @contextmanager
    def seeded(self, seed: int | None) -> Iterator[None]:
        """Within it torch's random numbers follow from `seed`; after it they go on as if nothing had happened."""
        device = self.model.device
        if seed is None:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                torch.cuda.default_generators[device.index].manual_seed(seed)
            elif device.type == "mps":
                torch.mps.manual_seed(seed)
            yield

    def _on_device(self, ids: list[int] | None) -> Tensor | None:
        return None if ids is None else torch.tensor(ids, device=self.model.device)


def groups(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]

"""Codec: texts to posteriors and z to texts, in batches. The verbs of a pipeline are functions of it.

N texts · M written for each · Z latent_size
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import cast

import torch
from torch import Tensor

from textvae.data.inference_batches import InferenceBatches, groups, length_sorted_rounds
from textvae.data.labels import label_ids, listed
from textvae.data.tokenize import tokenize
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel

logger = logging.getLogger(__name__)

Label = str | int | Sequence[str | int] | None
Written = str | list[str] | list[list[str]]


@dataclass
class Codec:
    """A model and its tokenizers, which read and write batches of at most `batch_size` texts.

    In its methods `ids` are the label ids of N texts, or None for a model without labels.
    """

    model: TextVAEModel
    tokenizers: TokenizerPair
    batch_size: int
    progress: bool

    def __post_init__(self):
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}, it must be at least 1.")

    def label_ids(self, label: Label, count: int) -> list[int] | None:
        """The label ids of `count` texts, from one label for all or a list of one for each.

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
        """Mean and standard deviation of p(z), or p(z|c): two times (1, Z) or (N, Z), on the CPU."""
        mean, logvar = self.model.prior_parameters(self._on_device(ids))
        return mean.cpu(), (logvar / 2).exp().cpu()

    def read(self, texts: list[str], ids: list[int] | None) -> InferenceBatches:
        """Tokenize texts; the number of those that were cut is logged."""
        columns = {"input_ids": [], "target_ids": [], "truncated": []}
        max_length = self.tokenizers.max_length
        if texts:
            columns = tokenize({"text": texts}, self.tokenizers, max_length)
        if any(columns["truncated"]):
            logger.warning("%d of %d texts were cut to %d tokens", sum(columns["truncated"]), len(texts), max_length)
        columns |= {"text": texts} if ids is None else {"text": texts, "label_id": ids}
        return InferenceBatches(columns, self.tokenizers, self.model.device, self.batch_size)

    def posteriors(self, read: InferenceBatches) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x) of all texts: two times (N, Z), on the CPU."""

        @torch.no_grad()  # and not inference mode, whose tensors the user could not train anything on
        def encode(indices: list[int]) -> Tensor:
            batch = read.batch(indices)
            posterior = self.model.encode(batch["input_ids"], batch["attention_mask"], batch.get("label_ids"))
            return torch.stack([posterior.mean, posterior.stddev], dim=1).cpu()  # (B, 2, Z)

        rows = self.in_batches(encode, read.lengths, "encoding")
        rows = torch.stack(rows) if rows else torch.empty(0, 2, self.model.config.latent_size)
        mean, stddev = rows.unbind(1)
        return mean, stddev

    def write(
        self, latents: Tensor, ids: list[int] | None, generation_kwargs: dict, lengths: list[int] | None = None
    ) -> list[str] | list[list[str]]:
        """The text of each z (N, Z), or a list of texts for each if `num_return_sequences` is above 1.

        Args:
            lengths: a guess at the length of each text, so that long ones do not hold up short ones.
        """
        own_limit = {"max_new_tokens", "max_length", "generation_config"} & generation_kwargs.keys()
        limit = {} if own_limit else {"max_new_tokens": self.tokenizers.max_length}

        def write(indices: list[int]) -> list[str] | list[list[str]]:
            own_ids = self._on_device(ids and [ids[i] for i in indices])
            own = latents[indices].to(self.model.device)
            tokens = self.model.generate(own, label_ids=own_ids, **limit, **generation_kwargs)
            texts = self.tokenizers.decoder.batch_decode(tokens, skip_special_tokens=True)
            k = len(texts) // len(indices)
            return texts if k == 1 else groups(texts, k)

        return self.in_batches(write, lengths or [0] * len(latents), "decoding")

    def write_each(self, latents: Tensor, ids: list[int] | None, generation_kwargs: dict) -> list[list]:
        """The texts of (N, M, Z): M of each of N labels."""
        count = latents.shape[1]
        ids = ids and [i for i in ids for _ in range(count)]
        return groups(cast(list, self.write(latents.flatten(0, 1), ids, generation_kwargs)), count)

    def in_batches(self, function: Callable[[list[int]], Iterable], lengths: list[int], name: str) -> list:
        """One result for each index, in order; `function` is called with batches of indices of similar length."""
        results = [None] * len(lengths)
        rounds = length_sorted_rounds(range(len(lengths)), lengths, self.batch_size, name, progress=self.progress)
        for batch in chain.from_iterable(rounds):
            for index, result in zip(batch, function(batch), strict=True):
                results[index] = result
        return results

    @contextmanager
    def seeded(self, seed: int | None) -> Iterator[None]:
        """A context in which torch draws random numbers from `seed`; its state outside is not changed."""
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

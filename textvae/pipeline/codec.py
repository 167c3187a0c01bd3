"""Codec: texts to posteriors and z to texts, in batches. The verbs of a pipeline are functions of it.

N texts · M written for each · Z latent_size
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor

from textvae.config_fields import COUNT, SEED, flag, whole
from textvae.data.inference_batches import InferenceBatches, groups, length_sorted_rounds
from textvae.data.tokenize import tokenize
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.pipeline.controls import Processor, candidates_in, read_controls
from textvae.pipeline.draws import Draws
from textvae.pipeline.inputs import Label, Texts, as_list, ids_of_labels

logger = logging.getLogger(__name__)

Written = str | list[str] | list[list[str]]


@dataclass
class Codec:
    """A model and its tokenizers, which read and write batches of at most `batch_size` texts.

    In its methods `ids` are the label ids of N texts, or None for a model without labels.

    Args:
        seed: of all noise and of the words that are drawn; None for torch's own random state.
        generation_kwargs: decoding controls of `generate`, by name, and perhaps `num_candidates`.

    Raises:
        InputError: if one of them cannot be used.
    """

    model: TextVAEModel
    tokenizers: TokenizerPair
    batch_size: int = 64
    progress: bool = True
    seed: int | None = None
    generation_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.batch_size = whole("batch_size", self.batch_size, COUNT)
        self.progress = flag("progress", self.progress)
        self.seed = None if self.seed is None else whole("seed", self.seed, SEED)
        self.num_candidates, given = candidates_in(self.generation_kwargs)
        self.controls = read_controls(given, self.model, self.tokenizers)
        self.draws = Draws(self.seed, self.model.device)

    def check_has_z(self, lacks: str) -> None:
        """Raises InputError, with what it lacks, for a model without z."""
        if self.model.config.is_language_model:
            raise InputError(f"A model without z (latent_injection none) {lacks}")

    def label_ids(self, label: Label, count: int) -> list[int] | None:
        """The label ids of `count` texts, see [`textvae.pipeline.inputs.ids_of_labels`]."""
        return ids_of_labels(label, count, self.model.config.label_names)

    @torch.no_grad()
    def prior(self, ids: list[int] | None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of p(z), or p(z|c): two times (1, Z) or (N, Z), on the CPU."""
        mean, logvar = self.model.prior_parameters(self._on_device(ids))
        return mean.cpu(), (logvar / 2).exp().cpu()

    def read(self, texts: Texts, label: Label) -> tuple[InferenceBatches, bool]:
        """Check and tokenize texts; whether it was a single one."""
        texts, single = as_list(texts)
        return self.tokenize(texts, self.label_ids(label, len(texts))), single

    def tokenize(self, texts: list[str], ids: list[int] | None) -> InferenceBatches:
        """Tokenize texts; the number of those that were cut is logged."""
        read, cut = self.tokens(texts, ids)
        self.say_cut(cut, len(texts))
        return read

    def tokens(self, texts: list[str], ids: list[int] | None) -> tuple[InferenceBatches, int]:
        """Tokenize texts; and how many of them were cut."""
        columns = {"input_ids": [], "target_ids": [], "truncated": []}
        if texts:
            columns = tokenize({"text": texts}, self.tokenizers, self.tokenizers.max_length)
        cut = sum(columns["truncated"])
        columns |= {"text": texts} if ids is None else {"text": texts, "label_id": ids}
        return InferenceBatches(columns, self.tokenizers, self.model.device, self.batch_size), cut

    def say_cut(self, cut: int, number: int) -> None:
        """Log how many of some texts were cut, if one was."""
        if cut:
            logger.warning("%d of %d texts were cut to %d tokens", cut, number, self.tokenizers.max_length)

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

    def means(self, read: InferenceBatches) -> Tensor:
        """The mean of q(z|x) of all texts: (N, Z), on the CPU."""
        return self.posteriors(read)[0]

    def write(
        self,
        latents: Tensor,
        ids: list[int] | None,
        lengths: list[int] | None = None,
        steering: Callable[[list[int]], Processor] | None = None,
    ) -> list[str] | list[list[str]]:
        """The text of each z (N, Z), or a list of texts for each if `num_return_sequences` is above 1.

        With `num_candidates` it is the one whose posterior mean is nearest to the z.

        Args:
            lengths: a guess at the length of each text, so that long ones do not hold up short ones.
            steering: gives a logits processor for the z with these indices.

        Raises:
            InputError: if the decoder computes no finite numbers from a z.
        """

        def write(indices: list[int]) -> list[str] | list[list[str]]:
            own_ids = self._on_device(ids and [ids[i] for i in indices])
            own = latents[indices].to(self.model.device)
            with self.draws.words() if self.controls.draws else nullcontext(), self.controls.named_errors():
                steered = [] if steering is None else [steering(indices)]
                tokens = self.model.generate(own, label_ids=own_ids, **self.controls.arguments(indices, steered))
            texts = self.tokenizers.decoder.batch_decode(tokens, skip_special_tokens=True)
            k = len(texts) // len(indices)
            return texts if k == 1 else groups(texts, k)

        written = self.in_batches(write, lengths or [0] * len(latents), "decoding")
        if self.num_candidates == 1:
            return written
        apart = self.distances(cast("list[list[str]]", written), latents, ids)
        return [texts[int(own.argmin())] for texts, own in zip(written, apart, strict=True)]

    def rewrite(self, read: InferenceBatches) -> list[str] | list[list[str]]:
        """Each text written back from its posterior mean."""
        return self.write(self.means(read), read.label_ids, read.lengths)

    def distances(self, written: list[list[str]], latents: Tensor, ids: list[int] | None) -> list[Tensor]:
        """The Euclidean distance of the posterior mean of each text from the z that it was written for.

        Args:
            written: texts for each z (N, Z); a z may have another number of them than the next, or none.
        """
        read, owners = self.read_back(written, ids)
        apart = (self.means(read) - latents[owners]).norm(dim=-1)
        return list(apart.split([*map(len, written)]))

    def read_back(self, written: list[list[str]], ids: list[int] | None) -> tuple[InferenceBatches, Tensor]:
        """Tokenize all texts that were written for some z; and the row of its z for each text, (M,)."""
        owners = torch.arange(len(written)).repeat_interleave(torch.tensor([*map(len, written)], dtype=torch.long))
        own_ids = ids and [ids[i] for i in owners.tolist()]
        return self.tokenize([text for texts in written for text in texts], own_ids), owners

    def write_each(self, latents: Tensor, ids: list[int] | None) -> list[list]:
        """The texts of (N, M, Z): M of each of N labels."""
        count = latents.shape[1]
        ids = ids and [i for i in ids for _ in range(count)]
        return groups(cast(list, self.write(latents.flatten(0, 1), ids)), count)

    def in_batches(self, function: Callable[[list[int]], Iterable], lengths: list[int], name: str) -> list:
        """One result for each index, in order; `function` is called with batches of indices of similar length."""
        results = [None] * len(lengths)
        rounds = length_sorted_rounds(range(len(lengths)), lengths, self.batch_size, name, progress=self.progress)
        for batch in chain.from_iterable(rounds):
            for index, result in zip(batch, function(batch), strict=True):
                results[index] = result
        return results

    def _on_device(self, ids: list[int] | None) -> Tensor | None:
        return None if ids is None else torch.tensor(ids, device=self.model.device)

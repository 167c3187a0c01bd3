"""Reading: the scores by which a detector tells how unusual a text is.

N texts · S scores · T tokens of a text · Z latent_size · H width of the encoder's states
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from textvae.config_fields import nearest
from textvae.data.inference_batches import InferenceBatches
from textvae.errors import InputError, shown
from textvae.latents.outliers import LocalNeighbourDistance, MahalanobisDistance, NeighbourDistance
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.posterior import Pooling
from textvae.pipeline.codec import Codec
from textvae.pipeline.draws import Draws
from textvae.pipeline.score import bounds, kl_of_texts, sums, token_nll

Distance = MahalanobisDistance | NeighbourDistance | LocalNeighbourDistance

BOUND_SAMPLES = 20  # K of the score `bound`
_PER_TOKEN, _STATES = "_per_token", "states"


class Reading:
    """Texts that a model has read; what their scores need is computed when it is first asked for."""

    def __init__(self, codec: Codec, read: InferenceBatches, distances: Mapping[str, Distance]):
        """`distances` from usual texts, by the name of their score."""
        self.codec, self.read, self.distances = codec, read, distances

    def scores(self, names: Sequence[str]) -> Tensor:
        """The scores of these names: (N, S)."""
        return torch.stack([self._score(name) for name in names], dim=1)

    def points(self, name: str) -> Tensor:
        """The points that a distance of this name is between: z (N, Z), or the encoder's states (N, H)."""
        return self.states if name.endswith(_STATES) else self.posteriors[0]

    def _score(self, name: str) -> Tensor:
        if name in DISTANCES:
            return self.distances[name](self.points(name))
        if name.endswith(_PER_TOKEN):
            return self._score(name.removesuffix(_PER_TOKEN)) / torch.tensor(list(map(len, self.nll)))
        return _OF_A_TEXT[name](self)

    @cached_property
    def posteriors(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x): two times (N, Z)."""
        return self.codec.posteriors(self.read)

    @cached_property
    def states(self) -> Tensor:
        """The mean of the encoder's last states over the tokens of each text, with norm 1: (N, H)."""
        encoder, pool = cast(nn.Module, self.codec.model.encoder), Pooling("mean", 0)

        @torch.no_grad()
        def pooled(indices: list[int]) -> Tensor:
            batch = self.read.batch(indices)
            ids, mask = batch["input_ids"], batch["attention_mask"]
            last = encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()  # (B, S, H)
            return nn.functional.normalize(pool(last, mask), dim=-1).cpu()

        return torch.stack(self.codec.in_batches(pooled, self.read.lengths, "encoding"))

    @cached_property
    def nll(self) -> list[Tensor]:
        """−log p of the tokens of each text from the mean of its posterior: N times (T,)."""
        return token_nll(self.codec, self.read, self.posteriors[0])

    @cached_property
    def kl(self) -> Tensor:
        return kl_of_texts(self.codec, self.read, *self.posteriors)

    @property
    def noise(self) -> Tensor:
        """(K, 1, Z), the same for all texts and calls."""
        return Draws(0, torch.device("cpu")).noise(BOUND_SAMPLES, 1, self.codec.model.config.latent_size)

    def negative_elbo(self) -> Tensor:
        mean, stddev = self.posteriors
        drawn = token_nll(self.codec, self.read, mean + stddev * self.noise[0])
        return torch.tensor(sums(drawn)) + self.kl

    def bound(self) -> Tensor:
        return torch.tensor(bounds(self.codec, self.read, self.noise))

    def reconstruction(self) -> Tensor:
        return torch.tensor(sums(self.nll))

    def round_trip(self) -> Tensor:
        """The distance of z from the z of the text that is written from it."""
        means, ids = self.posteriors[0], self.read.label_ids
        written = cast("list[str]", self.codec.write(means, ids, self.read.lengths))
        return torch.cat(self.codec.distances([[text] for text in written], means, ids))


_OF_A_TEXT: dict[str, Callable[[Reading], Tensor]] = {
    "negative_elbo": Reading.negative_elbo,
    "bound": Reading.bound,
    "kl": lambda reading: reading.kl,
    "reconstruction": Reading.reconstruction,
    "round_trip": Reading.round_trip,
}
DISTANCES = {
    f"{kind}_{space}": distance
    for kind, distance in (
        ("mahalanobis", MahalanobisDistance),
        ("neighbours", NeighbourDistance),
        ("local_neighbours", LocalNeighbourDistance),
    )
    for space in ("latents", _STATES)
}
SCORES = (
    *_OF_A_TEXT,
    *(f"{name}{_PER_TOKEN}" for name in _OF_A_TEXT if name != "round_trip"),
    *DISTANCES,
)


def known_scores(score: str | Sequence[str], model: TextVAEModel) -> list[str]:
    """The names of scores, each once.

    Raises:
        InputError: if there is none, one is unknown, or the model has no z and one is about z or the encoder.
    """
    names = [score] if isinstance(score, str) else score
    if not isinstance(names, Sequence) or not names:
        raise InputError(f"score is {shown(score)}, it must be one or several of {', '.join(SCORES)}.")
    for name in names:
        if not isinstance(name, str) or name not in SCORES:
            right = nearest(name, SCORES) if isinstance(name, str) else SCORES[0]
            raise InputError(f"There is no score {shown(name)}; did you mean {right!r}?")
        if model.config.is_language_model and name in ("round_trip", *DISTANCES):
            raise InputError(
                f"A model without z (latent_injection none) has no score {name!r}: give 'reconstruction_per_token'."
            )
    return list(dict.fromkeys(names))

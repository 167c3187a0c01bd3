"""Infilling: gaps are filled under a z that is read from what is given, then under those of the best filled texts.

N texts · Z latent_size
"""

from collections.abc import Iterator, Sequence
from itertools import chain, starmap
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textvae.config_fields import COUNT, flag, whole
from textvae.data.templates import GapTokens, Template, gap_tokens, split_at_gaps
from textvae.errors import InputError, shown
from textvae.pipeline.chunks import streamed
from textvae.pipeline.codec import Codec
from textvae.pipeline.gap_search import GapSearch, Limits
from textvae.pipeline.inputs import Label, Texts, as_list
from textvae.pipeline.paraphrase import Paraphrases, Scored, without_scores
from textvae.pipeline.score import kl_of_texts, sums, token_nll

# Under the posterior mean of a text that lacks words the decoder writes no others. So z is only this part of the way
# from the prior's mean to it, where the words beside a gap say more, in later rounds too. Measured, see the lab book.
STEP = 0.5


class Infilling(NamedTuple):
    """How gaps are filled; see `TextVAEPipeline.infill`."""

    wanted: int
    marker: str
    max_gap_tokens: int
    allow_empty: bool
    num_rounds: int
    num_latents: int
    num_beams: int


class Filled(NamedTuple):
    """A text without gaps: its score in nats, and its posterior mean (Z,)."""

    score: float
    mean: Tensor


def as_infilling(
    wanted: object,
    marker: object,
    max_gap_tokens: object,
    allow_empty: object,
    num_rounds: object,
    num_latents: object,
    num_beams: object,
) -> Infilling:
    """These arguments of `infill`; raises InputError if one of them cannot be used."""
    if not isinstance(marker, str) or not marker.strip():
        raise InputError(f"marker is {shown(marker)}, it must be a string that is not blank.")
    return Infilling(
        whole("num_return_sequences", wanted, COUNT),
        marker,
        whole("max_gap_tokens", max_gap_tokens, COUNT),
        flag("allow_empty", allow_empty),
        whole("num_rounds", num_rounds, COUNT),
        whole("num_latents", num_latents, COUNT),
        whole("num_beams", num_beams, COUNT),
    )


def infill(
    codec: Codec, texts: Texts, settings: Infilling, return_scores: bool, label: Label
) -> Paraphrases | Iterator[Any]:
    """Up to `settings.wanted` ways to fill each text, the best first, with their scores if asked for.

    Of a list all texts are checked before one is filled.

    Raises:
        InputError: if a text has no gap, no word beside its gaps, or no room for what is missing.
    """

    def filled(some: list[str], ids: list[int] | None) -> list:
        scored = _filled(codec, some, ids, settings)
        return scored if return_scores else without_scores(scored)

    if isinstance(texts, Iterator):
        return chain.from_iterable(starmap(filled, streamed(codec, texts, label)))
    items, single = as_list(texts)
    found = filled(items, codec.label_ids(label, len(items)))
    return found[0] if single else found


def _filled(codec: Codec, texts: list[str], ids: list[int] | None, settings: Infilling) -> list[Scored]:
    if not texts:
        return []
    gaps = gap_tokens(codec.tokenizers.decoder, codec.model.config.decoder_config.vocab_size)
    templates = [gaps.template(split_at_gaps(text, settings.marker)) for text in texts]
    for text, template in zip(texts, templates, strict=True):
        _check_room(text, template, codec.tokenizers.max_length, settings.allow_empty)
    found: list[dict[str, Filled]] = [{} for _ in texts]
    prior_mean = codec.prior(ids)[0].expand(len(texts), -1)
    means = list(_means_of_given(codec, templates, ids).unsqueeze(1))
    for _ in range(settings.num_rounds):
        latents = [prior + STEP * (own - prior) for prior, own in zip(prior_mean, means, strict=True)]
        _score(codec, found, _search(codec, gaps, templates, latents, ids, settings), ids)
        means = [_means_of_best(*pair, settings.num_latents) for pair in zip(found, means, strict=True)]
    return [[(text, one.score) for text, one in _best(own)[: settings.wanted]] for own in found]


def _check_room(text: str, template: Template, max_length: int, allow_empty: bool) -> None:
    needed = template.num_given + (0 if allow_empty else template.num_gaps)
    if needed > max_length:
        raise InputError(
            f"{shown(text)} needs {needed} tokens, and the model writes {max_length}: give a shorter text."
        )


def _means_of_given(codec: Codec, templates: list[Template], ids: list[int] | None) -> Tensor:
    """The posterior mean (N, Z) of each text without its gaps."""
    given = [template.filled([""] * template.num_gaps).strip() for template in templates]
    return codec.means(codec.tokenize(given, ids))


def _search(
    codec: Codec,
    gaps: GapTokens,
    templates: list[Template],
    latents: list[Tensor],
    ids: list[int] | None,
    settings: Infilling,
) -> list[list[str]]:
    """The texts that the gap search writes for each template, under each of its z."""
    owners = [owner for owner, own in enumerate(latents) for _ in own]
    every = torch.cat(latents)
    limits = Limits(settings.num_beams, settings.max_gap_tokens, codec.tokenizers.max_length, settings.allow_empty)

    def search(rows: list[int]) -> list[list[str]]:
        own = [templates[owners[row]] for row in rows]
        labels = None if ids is None else torch.tensor([ids[owners[row]] for row in rows], device=codec.model.device)
        z = every[rows].to(codec.model.device)
        fills = GapSearch(codec.model, gaps, own, z, labels, limits).run()
        return [[template.filled(one) for one in some] for template, some in zip(own, fills, strict=True)]

    lengths = [templates[owner].num_given for owner in owners]
    written: list[list[str]] = [[] for _ in templates]
    for owner, some in zip(owners, codec.in_batches(search, lengths, "filling"), strict=True):
        written[owner] += some
    return written


def _score(
    codec: Codec, found: list[dict[str, Filled]], written: Sequence[Sequence[str]], ids: list[int] | None
) -> None:
    """Add to `found` those texts that are new: their score is log p(x|z) − KL(q(z|x) ‖ p(z)), z the mean of q(z|x)."""
    new = [
        (owner, text) for owner, some in enumerate(written) for text in dict.fromkeys(some) if text not in found[owner]
    ]
    if not new:
        return
    read = codec.tokenize([text for _, text in new], ids and [ids[owner] for owner, _ in new])
    mean, stddev = codec.posteriors(read)
    nats = torch.tensor(sums(token_nll(codec, read, mean))) + kl_of_texts(codec, read, mean, stddev)
    for (owner, text), one, z in zip(new, nats.tolist(), mean, strict=True):
        found[owner][text] = Filled(-one, z)


def _best(found: dict[str, Filled]) -> list[tuple[str, Filled]]:
    return sorted(found.items(), key=lambda pair: -pair[1].score)


def _means_of_best(found: dict[str, Filled], means: Tensor, number: int) -> Tensor:
    """The posterior means of the best texts so far (at most `number`, Z); the given ones where there is no text."""
    return torch.stack([one.mean for _, one in _best(found)[:number]]) if found else means

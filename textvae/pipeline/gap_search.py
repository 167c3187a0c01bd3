"""Gap search: the likeliest fills of a template under one z.

A beam search compares hypotheses of the same number of tokens. With given words it would drop a hypothesis as soon as
it has closed its gap, since these words are less likely than free ones. So here hypotheses are compared when each has
read the whole segment behind the gap, whose tokens cost their nats: the fill that leads best to what is given wins,
however long it is (compare grid beam search, Hokamp & Liu 2017, which compares by the number of constraints met).

R rows, a template and a z of each · H hypotheses · V vocabulary · Z latent_size
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import Cache

from textvae.data.padding import padded_batch
from textvae.data.special_tokens import IGNORED
from textvae.data.templates import GapTokens, Template
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.compat import CACHE_NAME

CLOSINGS = 4  # times the beams: so many fills of a gap are tried with the whole segment behind it


class Limits(NamedTuple):
    """What a search may write.

    Attributes:
        num_beams: the most hypotheses of a row.
        max_gap_tokens: the most tokens of a gap.
        max_length: the most tokens of a text, EOS included.
        allow_empty: whether a gap may stay empty.
    """

    num_beams: int
    max_gap_tokens: int
    max_length: int
    allow_empty: bool


class Hypothesis(NamedTuple):
    """The beginning of a text.

    Attributes:
        row: that of its template and its z.
        ids: its tokens, without BOS.
        fills: of the gaps that are closed.
        nats: −log p of its tokens given z, without those of the first segment, which all hypotheses share.
        ahead: `nats`, and those of the first token of the segment that would come next.
    """

    row: int
    ids: list[int]
    fills: tuple[str, ...] = ()
    nats: float = 0.0
    ahead: float = 0.0


class GapSearch:
    """The search for the fills of R templates, each with a z (R, Z) and, in a model with labels, a label (R,)."""

    def __init__(
        self,
        model: TextVAEModel,
        gaps: GapTokens,
        templates: Sequence[Template],
        latents: Tensor,
        label_ids: Tensor | None,
        limits: Limits,
    ):
        self.model, self.gaps, self.templates, self.limits = model, gaps, templates, limits
        self.latents, self.label_ids = latents, label_ids

    @torch.no_grad()
    def run(self) -> list[list[tuple[str, ...]]]:
        """Up to `num_beams` tuples of fills for each template, the likeliest first; none if nothing fits."""
        beams = [Hypothesis(row, template.tokens[0]) for row, template in enumerate(self.templates)]
        for gap in range(max(template.num_gaps for template in self.templates)):
            rest = [one for one in beams if gap < self._template(one).num_gaps]
            beams = [one for one in beams if gap >= self._template(one).num_gaps] + self._filled(rest, gap)
        rows = _by_row(beams)
        return [[one.fills for one in sorted(rows[row], key=attrgetter("nats"))] for row in range(len(self.templates))]

    def _filled(self, beams: list[Hypothesis], gap: int) -> list[Hypothesis]:
        """The best hypotheses with this gap closed and the segment behind it read."""
        by_length = defaultdict(list)  # of one length, so that a batch with a cache needs no padding
        for one in beams:
            by_length[len(one.ids)].append(one)
        closings = [one for group in by_length.values() for one in self._closings(group, gap)]
        some = _best(closings, "ahead", CLOSINGS * self.limits.num_beams)
        return _best(self._read(some, gap + 1), "nats", self.limits.num_beams)

    def _closings(self, beams: list[Hypothesis], gap: int) -> list[Hypothesis]:
        """Fills of a gap of all lengths, for hypotheses of one length; the segments behind it are not read yet."""
        start, cache, closings = len(beams[0].ids), None, []
        new = [[cast(int, self.model.config.bos_token_id), *one.ids] for one in beams]
        for size in range(self.limits.max_gap_tokens + 1):
            log_p, cache = self._next_token(beams, new, cache)
            closings += self._closed(beams, gap, start, log_p)
            grown = self._grown(beams, gap, start, log_p) if size < self.limits.max_gap_tokens else []
            if not grown:
                break
            places = torch.tensor([place for place, _ in grown], device=self.model.device)
            cast(Any, cache).reorder_cache(places)
            beams = [one for _, one in grown]
            new = [one.ids[-1:] for one in beams]
        return closings

    def _next_token(
        self, beams: list[Hypothesis], new: list[list[int]], cache: Cache | None
    ) -> tuple[Tensor, Cache | None]:
        """log p of the next token (H, V), and the cache, which holds all tokens but the `new` ones."""
        kept: dict[str, Any] = {CACHE_NAME: cache}
        ids = torch.tensor(new, device=self.model.device)
        output = self.model(decoder_input_ids=ids, **self._told(beams), use_cache=True, **kept)
        return output.logits[:, -1].float().log_softmax(-1), output[CACHE_NAME]

    def _told(self, beams: list[Hypothesis]) -> dict[str, Tensor]:
        """z and labels of hypotheses."""
        rows = torch.tensor([one.row for one in beams], device=self.model.device)
        told = {"latents": self.latents[rows]}
        return told if self.label_ids is None else {**told, "label_ids": self.label_ids[rows]}

    def _closed(self, beams: list[Hypothesis], gap: int, start: int, log_p: Tensor) -> list[Hypothesis]:
        """Those hypotheses whose gap, from token `start` on, may be closed; `log_p` (H, V) is of the next token."""
        fills = self.gaps.written([one.ids[start:] for one in beams])
        closed = []
        for one, fill, row in zip(beams, fills, log_p, strict=True):
            if fill or (self.limits.allow_empty and len(one.ids) == start):
                segment = self._template(one).tokens[gap + 1]
                ahead = one.nats - float(row[segment[0]]) if segment else one.nats
                closed.append(one._replace(fills=(*one.fills, fill), ahead=ahead))
        return closed

    def _grown(self, beams: list[Hypothesis], gap: int, start: int, log_p: Tensor) -> list[tuple[int, Hypothesis]]:
        """The best hypotheses with a token more in the gap, and their places before that."""
        masks = [
            self.gaps.inside if len(one.ids) > start else self.gaps.first(self._template(one).segments[gap])
            for one in beams
        ]
        log_p = log_p.masked_fill(~torch.stack(masks).to(log_p.device), -torch.inf)
        top, tokens = log_p.topk(min(self.limits.num_beams, log_p.shape[1]))
        grown = [
            (place, one._replace(ids=[*one.ids, token], nats=one.nats - more))
            for place, (one, values, own) in enumerate(zip(beams, top.tolist(), tokens.tolist(), strict=True))
            for more, token in zip(values, own, strict=True)
            if more > -torch.inf and len(one.ids) + self._to_come(one, gap) < self.limits.max_length
        ]
        rows = _by_row(grown, lambda pair: pair[1].row)
        return [
            pair
            for own in rows.values()
            for pair in sorted(own, key=lambda pair: pair[1].nats)[: self.limits.num_beams]
        ]

    def _to_come(self, one: Hypothesis, gap: int) -> int:
        """The fewest tokens that follow this gap."""
        later = self._template(one).tokens[gap + 1 :]
        return sum(map(len, later)) + (0 if self.limits.allow_empty else len(later) - 1)

    def _read(self, beams: list[Hypothesis], number: int) -> list[Hypothesis]:
        """The hypotheses with segment `number` behind them."""
        segments = [self._template(one).tokens[number] for one in beams]
        if not any(segments):
            return beams
        before = [[IGNORED] * len(one.ids) for one in beams]
        ids = [
            [cast(int, self.model.config.bos_token_id), *one.ids, *segment]
            for one, segment in zip(beams, segments, strict=True)
        ]
        inputs, _ = padded_batch([row[:-1] for row in ids], 0)
        labels, _ = padded_batch([[*own, *segment] for own, segment in zip(before, segments, strict=True)], IGNORED)
        told = self._told(beams)
        nll = self.model.token_nll(
            labels=labels.to(self.model.device), decoder_input_ids=inputs.to(self.model.device), **told
        )
        return [
            one._replace(ids=row[1:], nats=one.nats + more)
            for one, row, more in zip(beams, ids, nll.sum(1).tolist(), strict=True)
        ]

    def _template(self, one: Hypothesis) -> Template:
        return self.templates[one.row]


def _by_row(items: Iterable, row: Callable[[Any], int] = attrgetter("row")) -> dict[int, list]:
    found = defaultdict(list)
    for one in items:
        found[row(one)].append(one)
    return found


def _best(beams: Iterable[Hypothesis], nats: str, number: int) -> list[Hypothesis]:
    """For each row the hypotheses with the fewest nats."""
    return [one for own in _by_row(beams).values() for one in sorted(own, key=attrgetter(nats))[:number]]

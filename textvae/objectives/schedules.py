"""The KL weight β as a pure function of the optimizer step."""

import math
from dataclasses import dataclass, fields
from difflib import get_close_matches

from textvae.errors import InputError

# Each shape maps the progress of the climb, in [0, 1], to the share of β reached; exact at 0 and at 1.
SHAPES = {
    "constant": lambda done: 1.0,
    "linear": lambda done: done,
    "logistic": lambda done: 0.5 * (1 + math.tanh(6 * done - 3) / math.tanh(3)),
    "cosine": lambda done: 0.5 * (1 - math.cos(math.pi * done)),
    "cyclical": lambda done: done,
}


@dataclass(frozen=True)
class KLSchedule:
    """The weight of the KL term at each optimizer step: `schedule(step, total_steps) -> β`.

    With t = step / total_steps, the weight is 0 while t < zero_phase, then climbs

        β(t) = start + (beta - start) · shape(c),    c = min(1, (t - zero_phase) / warmup),

    and stays at `beta`. It never exceeds `beta`, and it equals `beta` from `step = total_steps` on for every kind.

    kind:
        - `constant`: shape = 1: `beta` right after the zero phase; `warmup` and `start` are ignored.
        - `linear`: shape = c.
        - `logistic` (Bowman et al. 2016): the sigmoid σ(12c - 6), shifted and scaled to run from exactly 0 to 1.
        - `cosine`: shape = (1 - cos πc) / 2.
        - `cyclical` (Fu et al. 2019, eq. 6-7): linear, repeated in each of `num_cycles` equal cycles; t is then the
          progress within the current cycle, (step · num_cycles / total_steps) mod 1, and `ramp` replaces `warmup`.

    Optimus (Li et al. 2020) uses `KLSchedule("cyclical", num_cycles=1, zero_phase=0.5, ramp=0.25)`, which equals
    `KLSchedule("linear", zero_phase=0.5, warmup=0.25)`.

    Args:
        beta: the final weight, at least 0.
        warmup: share of all steps over which the weight climbs, in (0, 1]; not for `cyclical`.
        zero_phase: share of all steps (`cyclical`: of each cycle) at weight 0 before the climb, in [0, 1).
        num_cycles: number of cycles M of `cyclical`, at least 1.
        ramp: share R of each cycle of `cyclical` over which the weight climbs, in (0, 1].
        start: the weight at which each climb starts, in [0, beta].

    Raises:
        InputError: if a field is out of its range, or if zero phase and climb add up to more than 1.
    """

    kind: str = "constant"
    beta: float = 1.0
    warmup: float = 0.25
    zero_phase: float = 0.0
    num_cycles: int = 4
    ramp: float = 0.5
    start: float = 0.0

    def __post_init__(self):
        _check_kind(self.kind)
        for field in fields(self)[1:]:
            self._require(field.name, isinstance(getattr(self, field.name), (int, float)), "a number")
        self._require("beta", 0 <= self.beta < math.inf, "at least 0")
        self._require("warmup", 0 < self.warmup <= 1, "a share of the steps above 0 and up to 1")
        self._require("zero_phase", 0 <= self.zero_phase < 1, "a share of the steps from 0 to below 1")
        self._require("num_cycles", self.num_cycles >= 1 and self.num_cycles % 1 == 0, "a whole number, at least 1")
        self._require("ramp", 0 < self.ramp <= 1, "a share of the cycle above 0 and up to 1")
        if self.kind != "constant":
            self._require("start", 0 <= self.start <= self.beta, f"from 0 to beta ({self.beta})")
            climb = "ramp" if self.kind == "cyclical" else "warmup"
            room = 1 - self._climb + 1e-9  # rounded shares such as 0.9 and 0.1 may add up to slightly more than 1
            self._require("zero_phase", self.zero_phase <= room, f"at most 1 - {climb} ({1 - self._climb:g})")

    def __call__(self, step: int, total_steps: int) -> float:
        """β for the optimizer step that follows `step` finished steps, out of `total_steps`."""
        if step >= total_steps:
            return float(self.beta)
        # Integer arithmetic makes every cycle start at exactly 0 when total_steps is a multiple of num_cycles.
        cycles = int(self.num_cycles) if self.kind == "cyclical" else 1
        progress = step * cycles % total_steps / total_steps
        if progress < self.zero_phase:
            return 0.0
        done = (progress - self.zero_phase) / self._climb
        reached = 1.0 if done >= 1 else SHAPES[self.kind](done)
        # `beta` itself at the end of the climb: the rounded sum may be slightly above or below it.
        return float(self.beta if reached == 1 else min(self.beta, self.start + (self.beta - self.start) * reached))

    def begins_climb(self, step: int, total_steps: int) -> bool:
        """Whether β starts to climb at this step: after a zero phase, or in a new cycle; never at step 0."""
        if not 0 < step < total_steps:
            return False
        return self._climbs(step, total_steps) not in (None, self._climbs(step - 1, total_steps))

    def _climbs(self, step: int, total_steps: int) -> int | None:
        """The index of the current cycle, or None during its zero phase."""
        cycle, rest = divmod(step * (int(self.num_cycles) if self.kind == "cyclical" else 1), total_steps)
        return None if rest / total_steps < self.zero_phase else cycle

    @property
    def _climb(self) -> float:
        return self.ramp if self.kind == "cyclical" else self.warmup

    def _require(self, name: str, fulfilled: bool, wanted: str) -> None:
        if not fulfilled:
            raise InputError(f"KL schedule: {name} must be {wanted}, not {getattr(self, name)!r}.")


def _check_kind(kind: str) -> None:
    if kind not in SHAPES:
        nearest = get_close_matches(str(kind), SHAPES, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise InputError(f"KL schedule: kind must be one of {', '.join(SHAPES)}, not {kind!r}.{hint}")

"""RateController: adjusts the KL weight β after every optimizer step until the KL reaches a target rate."""

import math
from dataclasses import asdict, dataclass

from textvae.errors import InputError


@dataclass
class RateController:
    """A controller of the KL weight β: read `beta`, take an optimizer step, then `update` with the KL of that step.

    With e = target − KL, in nats per text:

    - `pi` (ControlVAE; Shao et al. 2020, eq. 7 and algorithm 1): β = K_p / (1 + exp e) + I, where I ← I − gain · e.
      β starts near 0, and the KL is held at the target from both sides. I is clamped, so that it does not wind up
      while β is at a limit.
    - `mdr` (minimum desired rate; Pelsmaeker & Aziz 2020, eq. 8): min max_λ −ELBO + λ · e with λ ≥ 0, that is
      β = limit − λ, where λ ← max(0, λ + gain · e). The KL may stay above the target.

    All fields are saved in checkpoints.

    Args:
        kind: `pi` or `mdr`.
        target: the target KL, in nats per text, above 0.
        limit: the largest β; `mdr` may also make β negative, down to −limit.
        gain: the gain of the integral term (`pi`) or the step size of λ (`mdr`), per nat and step, above 0.
        proportional_gain: K_p of `pi`.

    Raises:
        InputError: if `kind` is unknown or a number is out of its range.
    """

    kind: str
    target: float
    limit: float = 1.0
    gain: float = 1e-3
    proportional_gain: float = 0.01
    integral: float = 0.0
    beta: float = 0.0
    mean_kl: float = 0.0  # moving average, for `missed`
    updates: int = 0

    def __post_init__(self):
        if self.kind not in ("pi", "mdr"):
            raise InputError(f"kl_controller must be pi or mdr, not {self.kind!r}.")
        settings = {"kl_target": self.target, "beta": self.limit, "kl_controller_gain": self.gain}
        for name, value in settings.items():
            if not 0 < value < math.inf:
                raise InputError(f"A rate controller needs a {name} above 0, not {value}.")
        if self.updates == 0 and self.kind == "mdr":
            self.beta = self.limit

    def update(self, kl: float) -> None:
        """Update β with the KL of an optimizer step: nats per text, over its micro-batches and all processes."""
        self.updates += 1
        self.mean_kl += (kl - self.mean_kl) / min(self.updates, 100)
        error = self.target - kl
        if self.kind == "mdr":
            self.integral = min(max(0.0, self.integral + self.gain * error), 2 * self.limit)
            self.beta = self.limit - self.integral
        else:
            proportional = self.proportional_gain / (1 + math.exp(min(error, 700.0)))
            self.integral = min(max(-proportional, self.integral - self.gain * error), self.limit)
            self.beta = min(max(0.0, proportional + self.integral), self.limit)

    def missed(self) -> str | None:
        """A warning with a remedy if the average KL of the last 100 steps misses the target by over 10 %, else None."""
        low, high = 0.9 * self.target, 1.1 * self.target
        if self.updates == 0 or low <= self.mean_kl and (self.kind == "mdr" or self.mean_kl <= high):
            return None
        remedy = (
            "raise beta, the limit of β"
            if self.mean_kl > high
            else "lower kl_target, or use a decoder that depends more on z"
        )
        if (0 if self.kind == "pi" else -self.limit) < self.beta < self.limit:
            remedy = f"{remedy}, or train longer or with a larger kl_controller_gain, as β was still changing"
        return (
            f"The target rate of {self.target:g} nats was not reached: the KL of the last steps is "
            f"{self.mean_kl:.2f} with β at {self.beta:.3g}; {remedy}."
        )

    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, values: dict) -> None:
        """Restore the state from a checkpoint; target, limit and gain stay those of this run."""
        for name in ("integral", "beta", "mean_kl", "updates"):
            setattr(self, name, values[name])

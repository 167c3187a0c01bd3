"""Controllers: the KL weight β that is steered, step by step, until the KL is at a target rate."""

import math
from dataclasses import asdict, dataclass

from textvae.errors import InputError


@dataclass
class RateController:
    """β from the KL that training reaches: read `beta`, take a step with it, `update` with the KL of that step.

    With e = target − KL, in nats per text:

    - `pi` (ControlVAE; Shao et al. 2020, eq. 7 and algorithm 1): β = K_p / (1 + exp e) + I, where I ← I − gain · e.
      It begins near 0 and holds the KL at the target from both sides. I stands still while β is at a limit.
    - `mdr` (minimum desired rate; Pelsmaeker & Aziz 2020, eq. 8): min max_λ −ELBO + λ · e with λ ≥ 0, that is
      β = limit − λ, where λ ← max(0, λ + gain · e). A KL above the target is left alone.

    All its fields are its state, and part of a checkpoint.

    Args:
        kind: `pi` or `mdr`.
        target: nats per text, above 0.
        limit: the largest β; `mdr` may also turn β negative, down to −limit.
        gain: of the integral term, or the step size of λ; per nat and step, above 0.
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
    mean_kl: float = 0.0  # moving average, for what is said in the end
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
        """Take in the KL of a step: nats per text, over all its micro-batches and processes."""
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
        """One sentence if the KL of the last 100 steps is not within a tenth of the target, and what would help."""
        low, high = 0.9 * self.target, 1.1 * self.target
        if self.updates == 0 or low <= self.mean_kl and (self.kind == "mdr" or self.mean_kl <= high):
            return None
        remedy = "raise beta, its limit" if self.mean_kl > high else "give a lower kl_target or a decoder that needs z"
        if (0 if self.kind == "pi" else -self.limit) < self.beta < self.limit:
            remedy = f"{remedy}, or train longer or with a larger kl_controller_gain, as β was still moving"
        return (
            f"The target rate of {self.target:g} nats was not reached: the KL of the last steps is "
            f"{self.mean_kl:.2f} with β at {self.beta:.3g}; {remedy}."
        )

    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, values: dict) -> None:
        """Goes on from a checkpoint, with the target, limit and gain of this run."""
        for name in ("integral", "beta", "mean_kl", "updates"):
            setattr(self, name, values[name])

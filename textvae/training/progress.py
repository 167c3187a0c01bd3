"""Where a run stands, and what it shows: loss, reconstruction, KL, β, active units, tokens/s and the time left."""

import math
import time
from dataclasses import asdict, dataclass

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm.auto import tqdm

from textvae.data.special_tokens import IGNORED
from textvae.evaluation.metrics import ACTIVE
from textvae.modeling.autoencoder import TextVAEOutput
from textvae.processes import gathered, reduced


@dataclass
class Progress:
    """Where a run stands; part of every checkpoint.

    Attributes:
        step: optimizer steps that are done.
        seconds: of training, sessions before a checkpoint included.
        is_aggressive: whether the encoder trains ahead of the decoder; until z holds no more of x than before.
        most_information: the highest mutual information of a validation.
        planned_steps: the steps that fit into `max_minutes`; 0 before they are planned, and without.
    """

    step: int = 0
    seconds: float = 0.0
    best_negative_elbo: float = math.inf
    evaluations_since_best: int = 0
    is_aggressive: bool = False
    most_information: float = -math.inf
    planned_steps: int = 0

    def __post_init__(self):
        self.start_clock()

    def start_clock(self) -> None:
        self._since = time.monotonic()

    def count_seconds(self) -> None:
        """Add the time since the clock was started, or this was last called, to `seconds`."""
        self.seconds += time.monotonic() - self._since
        self.start_clock()

    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, values: dict) -> None:
        self.__dict__.update(values)


class Meter:
    """Sums over the texts since it was last shown, of all processes; nothing is read from the device in between.

    Attributes:
        bar: the progress bar, counted in optimizer steps.
        shuffle_gap: what z was last found to be worth, in nats per text; None before.
    """

    def __init__(self, accelerator: Accelerator, latent_size: int):
        self.accelerator, self.latent_size = accelerator, latent_size
        self.bar = tqdm(disable=True)
        self.shuffle_gap: float | None = None
        self._reset()

    def start(self, step: int, total_steps: int | None) -> None:
        """Show the bar from this step on; the total may follow."""
        hidden = not self.accelerator.is_main_process
        self.bar = tqdm(total=total_steps, initial=step, desc="training", disable=hidden)
        self._reset()

    def set_total(self, total_steps: int) -> None:
        self.bar.total = total_steps
        self.bar.refresh()

    def _reset(self) -> None:
        device = self.accelerator.device
        self.sums = torch.zeros(5, device=device, dtype=torch.float64 if device.type == "cpu" else torch.float32)
        self.moments = torch.zeros(2, self.latent_size, device=device)
        self.watched: list[Tensor] = []
        self.origins: list[tuple[str, int]] = []
        self.since = time.monotonic()

    def add(self, output: TextVAEOutput, labels: Tensor, loss: Tensor, step: int, batch: int) -> None:
        """Count micro-batch number `batch` of the run, in optimizer step `step`."""
        count, tokens = len(labels), (labels != IGNORED).sum()
        with torch.no_grad():
            texts = torch.tensor(count, device=labels.device)
            terms = [loss * count, output.reconstruction.sum(), output.kl.sum(), tokens, texts]
            self.sums += torch.stack([term.to(self.sums) for term in terms])
            self.moments += torch.stack([output.mean.sum(0), output.mean.square().sum(0)])
        self.watch(f"loss of micro-batch {batch}", loss, step)

    def watch(self, name: str, value: Tensor, step: int) -> None:
        """Let `first_not_finite` check a value of optimizer step `step`."""
        self.watched.append(value.detach())
        self.origins.append((name, step))

    def first_not_finite(self) -> tuple[str, float, int] | None:
        """Name, value and step of the first watched value since the last `show` that is not finite, on any process."""
        values = gathered(self.accelerator, torch.stack(self.watched)[None])  # (processes, watched)
        broken = (~values.isfinite()).any(0).nonzero()
        if not len(broken):
            return None
        first = int(broken[0])
        return self.origins[first][0], values[:, first].sum().item(), self.origins[first][1]

    def show(self, step: int, beta: float, learning_rate: float) -> dict[str, float]:
        """Show values per text since the last call in the progress bar, and log them to the trackers."""
        sums = reduced(self.accelerator, self.sums, "sum")
        moments = reduced(self.accelerator, self.moments, "sum")
        loss, reconstruction, kl, tokens, texts = sums.tolist()
        mean, square = moments / texts
        values = {
            "loss": loss / texts,
            "reconstruction": reconstruction / texts,
            "kl": kl / texts,
            "beta": beta,
            "active_units": int((square - mean**2 >= ACTIVE).sum()),
            "tokens_per_second": tokens / (time.monotonic() - self.since),
            "learning_rate": learning_rate,
        }
        self.accelerator.log(values, step=step)
        self.bar.update(step - self.bar.n)
        worth = "" if self.shuffle_gap is None else f"z worth {self.shuffle_gap:.1f}, "
        self.bar.set_postfix_str(
            f"loss {values['loss']:.1f}, rec {values['reconstruction']:.1f}, KL {values['kl']:.1f}, β {beta:.2f}, "
            f"AU {values['active_units']}/{self.latent_size}, {worth}{values['tokens_per_second']:,.0f} tok/s"
        )
        self._reset()
        return values

    def close(self) -> None:
        self.bar.close()

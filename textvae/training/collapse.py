"""CollapseMonitor: measures during training whether the decoder uses z, and warns once if it does not.

B batch · Z latent_size · N latest texts
"""

import logging
from collections import deque

import torch
from accelerate import Accelerator
from torch import Tensor

from textvae.evaluation.likelihood import preceding_of_label
from textvae.evaluation.metrics import active_units, mutual_information
from textvae.modeling.autoencoder import TextVAEModel, TextVAEOutput
from textvae.processes import gathered, reduced
from textvae.training.config import TrainingConfig

logger = logging.getLogger(__name__)

RECENT_BATCHES = 16
FAILED_CHECKS = 3  # in a row, before the monitor warns
QUIET_SHARE = 0.1  # of all steps; no warning before, since a decoder first learns the language
WORTHLESS = 1.0  # nats; below this `shuffle_gap` the decoder ignores z


class CollapseMonitor:
    """Per-dimension KL, active units, mutual information and the worth of z, on the latest training texts.

    The worth of z, `shuffle_gap`, is the increase of −log p(x|z), in nats, when a text is decoded from the z of
    another text (with the same label, if there are labels). Between checks nothing is computed and nothing is read
    from the device; a check costs two decoder passes without gradient. The monitor draws no random numbers, so it
    does not change training.
    """

    def __init__(self, accelerator: Accelerator, config: TrainingConfig, total_steps: int, steps_per_epoch: int):
        self.accelerator, self.config = accelerator, config
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self.recent: deque[tuple[Tensor, ...]] = deque(maxlen=RECENT_BATCHES)  # mean, logvar, latents, kl: (B, Z)
        self.recent_labels: deque[Tensor] = deque(maxlen=RECENT_BATCHES)  # (B,), all 0 without labels
        self.failed_checks, self.has_warned = 0, False

    def add(self, output: TextVAEOutput, label_ids: Tensor | None = None) -> None:
        parts = output.mean, output.logvar, output.latents, output.kl
        self.recent.append(tuple(tensor.detach() for tensor in parts))
        same = torch.zeros(len(output.kl), dtype=torch.long, device=output.kl.device)
        self.recent_labels.append(same if label_ids is None else label_ids)

    def check(self, model: TextVAEModel, batch: dict[str, Tensor], step: int) -> dict[str, float]:
        """Measure, log to the trackers, and warn once if z is not used; `batch` is the latest batch of this process.

        Returns:
            `kl`, `active_units`, `mutual_information` (of N texts, so at most ln N) and `shuffle_gap`.
        """
        mean, logvar, latents, kl = self._posteriors()
        kl = kl.mean(0)  # (Z,)
        values = {
            "kl": float(kl.sum()),
            "active_units": active_units(mean),
            "mutual_information": mutual_information(mean, logvar, latents),
            "shuffle_gap": self._shuffle_gap(model, batch["labels"], batch.get("label_ids")),
        }
        logged = {f"monitor/{name}": value for name, value in values.items()}
        dimensions = {f"monitor/kl_of_dimension_{d}": value for d, value in enumerate(kl.tolist())}
        self.accelerator.log(logged | dimensions, step=step)
        self._judge(values, len(kl), step)
        return values

    @torch.no_grad()
    def _shuffle_gap(self, model: TextVAEModel, labels: Tensor, label_ids: Tensor | None) -> float:
        latents = torch.cat([latents for _, _, latents, _ in self.recent])  # (N, Z); a batch may hold one text only
        others = latents[preceding_of_label(torch.cat([*self.recent_labels]))]
        pair = (part[-len(labels) :] for part in (latents, others))
        model.eval()
        with self.accelerator.autocast():
            own, others = (model.reconstruction(z, labels, label_ids=label_ids) for z in pair)
        model.train()
        sums = torch.stack([(others - own).sum(), torch.tensor(float(len(own)), device=own.device)])
        lost, texts = reduced(self.accelerator, sums, "sum").tolist()
        return lost / texts

    def _posteriors(self) -> tuple[Tensor, ...]:
        """Mean, logvar, latents and KL (N, Z) of the latest texts, the same number from each process."""
        parts = [torch.cat(part) for part in zip(*self.recent, strict=True)]
        counts = gathered(self.accelerator, torch.tensor([len(parts[0])], device=parts[0].device))
        return tuple(gathered(self.accelerator, part[-int(counts.min()) :]) for part in parts)

    def _judge(self, values: dict, latent_size: int, step: int) -> None:
        is_unused = values["shuffle_gap"] < WORTHLESS or values["active_units"] <= latent_size // 10
        self.failed_checks = self.failed_checks + 1 if is_unused else 0
        if self.has_warned or self.failed_checks < FAILED_CHECKS or step < QUIET_SHARE * self.total_steps:
            return
        self.has_warned = True
        if self.accelerator.is_main_process:
            logger.warning(
                "The posterior is collapsing: KL %.1f nats, %d of %d units active, z worth %.1f nats after %s; try %s.",
                *(values["kl"], values["active_units"], latent_size, values["shuffle_gap"]),
                *(self._age(step), " or ".join(remedies(self.config)[:2])),
            )

    def _age(self, step: int) -> str:
        epochs = step / self.steps_per_epoch
        return f"{epochs:.1f} epochs" if epochs >= 0.1 else f"{step} steps"


def remedies(config: TrainingConfig) -> list[str]:
    """Settings against posterior collapse that this run does not use yet, the mildest first."""
    found = []
    if config.free_bits < 0.25:
        found.append("free_bits: 0.25")
    if config.kl_target is None:
        found.append("kl_target: 10")
    if config.beta > 0.3:
        found.append("beta: 0.3")
    if config.word_dropout < 0.3:
        found.append("word_dropout: 0.3")
    return found + ["a smaller decoder"]

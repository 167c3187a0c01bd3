"""A normalising flow as a prior.

N texts · C labels, 1 for a model without · Z latent_size
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from textvae.errors import require_extra
from textvae.latents.priors import GaussianPrior, check_posteriors, draws, held_out_rows, no_prior, sampled_kl

if TYPE_CHECKING:
    from zuko.flows import Flow

BATCH_SIZE, LEARNING_RATE, MAX_NORM = 256, 2e-3, 5.0
PATIENCE, MAX_EPOCHS = 5, 100  # epochs without a better held-out density; and all of them
DRAWS = 4  # of each held-out posterior, that judge
LEAST_TEXTS = 10
LAST = 4  # number of the last layer of a network with two hidden ones, which functions stand between
_GAUSSIAN, _FLOW = "gaussian.", "flow."  # the tensors in a file


@dataclass(frozen=True)
class FlowSize:
    """The size of a masked autoregressive flow: its transforms, each with two hidden layers of this width."""

    transforms: int = 3
    width: int = 128


class FlowPrior:
    """A masked autoregressive flow (Papamakarios et al. 2017) that turns a fitted Gaussian into another density.

    z = mean + scale · f(ε) with mean and scale of [`GaussianPrior`], ε ~ N(0, I), and f invertible, learned by
    maximum likelihood on draws of the aggregate posterior. Before training f is the identity, so that early stopping
    ends nowhere worse than the Gaussian, on held-out texts. With labels, f is told the label.

    It is built by zuko, an extra: a prior can be opened and saved without it, but not used.

    Attributes:
        gaussian: where the flow starts.
        size: of the networks.
        state: their weights, by name.
    """

    def __init__(self, gaussian: GaussianPrior, size: FlowSize, state: dict[str, Tensor]):
        self.gaussian, self.size, self.state = gaussian, size, state
        self._built: dict[torch.device, Flow] = {}

    @classmethod
    def fit(
        cls,
        mean: Tensor,
        stddev: Tensor,
        label_ids: Sequence[int] | None = None,
        num_labels: int = 1,
        seed: int = 0,
        progress: bool = False,
        size: FlowSize | None = None,
    ) -> "FlowPrior":
        """Train the flow on draws of these posteriors, until a tenth that is held out no longer becomes likelier.

        Args:
            mean, stddev: (N, Z), of q(z|x).
            label_ids: of each text, from 0 to `num_labels` - 1; all 0 if not given.
            seed: of draws, weights and which texts are held out; torch's own random state is left alone.
            progress: show a bar.

        Raises:
            InputError: if there are fewer than 10 texts, a posterior is not finite, or zuko is not installed.
        """
        require_zuko()
        check_posteriors(mean, stddev, LEAST_TEXTS)
        gaussian = GaussianPrior.fit(mean, stddev, label_ids, num_labels)
        ids = torch.zeros(len(mean)).long() if label_ids is None else torch.tensor(label_ids)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            prior = cls(gaussian, size or FlowSize(), {})
            prior.state = prior._train(mean, stddev, ids, progress)
        prior._built.clear()
        return prior

    @property
    def shape(self) -> tuple[int, int]:
        """(C, Z)."""
        return self.gaussian.shape

    @torch.no_grad()
    def draw(self, noise: Tensor, label_ids: Sequence[int] | None = None, temperature: float = 1.0) -> Tensor:
        """mean + scale · f(temperature · noise), for standard normal noise (N, Z); (N, Z).

        Args:
            label_ids: of each z, for a model with labels.
        """
        if not len(noise):
            return noise
        ids = None if label_ids is None else torch.tensor(label_ids)
        with torch.autocast(noise.device.type, enabled=False):
            moved = self._on(noise.device)(self._context(ids)).transform.inv(temperature * noise)
        return self.gaussian.draw(moved, label_ids)

    @torch.no_grad()
    def log_density(self, latents: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """log p(z) in nats, or log p(z|c) with the labels (N,): (…, N, Z) → (…, N)."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._log_density(self._on(latents.device), latents, label_ids)

    def kl(self, mean: Tensor, logvar: Tensor, label_ids: Tensor | None = None) -> Tensor:
        """KL(N(mean, diag(exp(logvar))) ‖ p(z)) of each posterior (N, Z), from draws of it, in nats: (N,)."""
        return sampled_kl(lambda latents: self.log_density(latents, label_ids), mean, logvar)

    def tensors(self) -> dict[str, Tensor]:
        """All numbers that it consists of, by name."""
        of_gaussian = {f"{_GAUSSIAN}{name}": tensor for name, tensor in self.gaussian.tensors().items()}
        return of_gaussian | {f"{_FLOW}{name}": tensor.contiguous() for name, tensor in self.state.items()}

    def save(self, path: Path) -> None:
        """Write it to a safetensors file."""
        save_file(self.tensors(), path, {"prior": "flow", "size": json.dumps(asdict(self.size))})

    @classmethod
    def load(cls, path: str | Path) -> "FlowPrior":
        """What `save` wrote; raises InputError if the file holds anything else."""
        try:
            with safe_open(path, "pt") as file:
                size = FlowSize(**json.loads(file.metadata()["size"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            gaussian = GaussianPrior(tensors[f"{_GAUSSIAN}mean"], tensors[f"{_GAUSSIAN}scale"])
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise no_prior(path) from error
        state = {name.removeprefix(_FLOW): tensor for name, tensor in tensors.items() if name.startswith(_FLOW)}
        if gaussian.scale.shape != (*gaussian.mean.shape, gaussian.mean.shape[-1]) or not state:
            raise no_prior(path)
        return cls(gaussian, size, state)

    def _train(self, mean: Tensor, stddev: Tensor, ids: Tensor, progress: bool) -> dict[str, Tensor]:
        """The weights that make the held-out tenth likeliest."""
        flow = self._new()
        rows, held_out = held_out_rows(len(mean), torch.default_generator)
        held_out = held_out.repeat(DRAWS)
        judged = draws(mean[held_out], stddev[held_out])
        optimizer = torch.optim.Adam(flow.parameters(), LEARNING_RATE)
        best, state, waited = -torch.inf, {}, 0
        bar = tqdm(range(MAX_EPOCHS), desc="fitting a flow", leave=False, disable=not progress)
        for _ in bar:
            with torch.no_grad():
                density = float(self._log_density(flow, judged, ids[held_out]).mean())
            waited = 0 if density > best else waited + 1
            if waited == 0:
                best, state = density, {name: tensor.clone() for name, tensor in flow.state_dict().items()}
            elif waited == PATIENCE:
                break
            bar.set_postfix(held_out=f"{-best:.2f} nats")
            for batch in rows[torch.randperm(len(rows))].split(BATCH_SIZE):
                loss = -self._log_density(flow, draws(mean[batch], stddev[batch]), ids[batch]).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(flow.parameters(), MAX_NORM)
                optimizer.step()
        bar.close()
        return state

    def _log_density(self, flow: "Flow", latents: Tensor, label_ids: Tensor | None) -> Tensor:
        """The density of the flow in the Gaussian's coordinates, and what these change: (…, N, Z) → (…, N)."""
        white, log_determinant = self.gaussian.whiten(latents, label_ids)
        context = self._context(label_ids)
        if context is not None:
            context = context.expand(*latents.shape[:-1], -1)
        return flow(context).log_prob(white.float()).to(latents) + log_determinant

    def _context(self, label_ids: Tensor | None) -> Tensor | None:
        """What the flow is told of the labels: (N, C), or nothing where there is but one."""
        labels = self.shape[0]
        return nn.functional.one_hot(label_ids, labels).float() if label_ids is not None and labels > 1 else None

    def _on(self, device: torch.device) -> "Flow":
        """The flow on this device."""
        if device not in self._built:
            flow = self._new()
            flow.load_state_dict(self.state)
            self._built[device] = flow.eval().to(device)
        return self._built[device]

    def _new(self) -> "Flow":
        """A flow that is the identity."""
        require_zuko()
        from zuko.flows import MAF

        labels, size = self.shape
        context, hidden = (labels if labels > 1 else 0), (self.size.width, self.size.width)
        flow = MAF(size, context, transforms=self.size.transforms, hidden_features=hidden)
        for name, parameter in flow.named_parameters():
            if f"hyper.{LAST}." in name:  # of the network of a transform
                nn.init.zeros_(parameter)
        return flow


def require_zuko() -> None:
    """Raises InputError without zuko, an extra."""
    require_extra("zuko", "zuko", "flow", "A flow")

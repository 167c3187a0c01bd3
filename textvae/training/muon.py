"""Muon: AdamW whose updates of hidden matrices are orthogonal.

M, N rows and columns of a matrix
"""

from collections import defaultdict

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
# Composed, these polynomials bring all singular values between 0.01 and 1 to 1 ± 0.27; no three others of their degree
# bring them nearer (Polar Express, Amsel et al. 2025, arXiv 2505.16932).
COEFFICIENTS = ((8.093369, -23.62043, 17.446152), (3.636586, -2.721927, 0.536546), (2.6613, -1.977155, 0.452616))


class Muon(torch.optim.AdamW):
    """AdamW, but groups with `num_blocks` are matrices that move along the orthogonal factor of their momentum.

    Jordan et al. 2024 (kellerjordan.github.io/posts/muon), with the scale of Liu et al. 2025 (arXiv 2502.16982, eq. 4),
    so that the updates are as large as AdamW's and one learning rate serves all. The orthogonal factor is computed in
    fp32: the bf16 of `torch.optim.Muon` is slower than all the rest of a step on a CPU that has no instructions for it.

    Args:
        groups: as AdamW takes them. In a group with `num_blocks` each matrix is so many of one size, one above the
            other, such as the gates of a GRU; each of them gets an orthogonal update of its own.
    """

    def __init__(self, groups: list[dict], **options):
        super().__init__([{"num_blocks": 0, **group} for group in groups], **options)
        self._step_supports_amp_scaling = False  # a scaler of fp16 then skips whole steps, and not AdamW's part of them

    @torch.no_grad()
    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take a step with both kinds of updates."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            if group["num_blocks"]:
                self._step_orthogonally(group)
        super().step()
        return loss

    def _step_orthogonally(self, group: dict) -> None:
        of_shape = defaultdict(list)  # matrices of one shape are orthogonalised together
        for weight in group["params"]:
            if weight.grad is not None:
                blocks = self._moved(weight, weight.grad).chunk(group["num_blocks"])
                of_shape[blocks[0].shape] += zip(weight.chunk(group["num_blocks"]), blocks, strict=True)
                weight.grad = None  # so that AdamW leaves it alone
        for shape, pairs in of_shape.items():
            factors = orthogonal_factor(torch.stack([moved for _, moved in pairs]))
            for (weight, _), factor in zip(pairs, factors, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(factor, alpha=-0.2 * max(shape) ** 0.5 * group["lr"])

    def _moved(self, weight: nn.Parameter, gradient: Tensor) -> Tensor:
        """Nesterov's momentum: the gradient where the weight is about to be."""
        state = self.state[weight]
        if not state:
            # AdamW looks for a `step` in every state that is loaded.
            state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(weight))
        momentum = state["momentum"]
        return gradient.lerp(momentum.lerp_(gradient, 1 - MOMENTUM), MOMENTUM)


def orthogonal_factor(matrices: Tensor) -> Tensor:
    """U Vᵀ of each matrix U Σ Vᵀ (…, M, N), roughly, by three Newton–Schulz iterations; 0 for a matrix of zeros."""
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    found = matrices.mT if is_tall else matrices
    found = found / found.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-20)
    for first, third, fifth in COEFFICIENTS:  # of an odd polynomial of the singular values
        square = found @ found.mT
        found = first * found + (third * square + fifth * square @ square) @ found
    return found.mT if is_tall else found

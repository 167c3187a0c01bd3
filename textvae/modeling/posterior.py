"""What lies between the encoder's states and the mean of q(z|x).

B batch · S encoder length · H hidden size · Z latent_size
"""

import torch
from torch import Tensor, nn


class Pooling(nn.Module):
    """One vector (B, H) from the states (B, S, H) at the positions where the mask (B, S) is 1."""

    def __init__(self, kind: str, hidden_size: int):
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(hidden_size, 1) if kind == "attention" else None

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "cls":
            return states[:, 0]
        if self.kind == "last":
            last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)
            return states[torch.arange(len(states), device=mask.device), last]
        hidden = ~mask.bool().unsqueeze(-1)  # (B, S, 1)
        if self.kind == "max":
            return states.masked_fill(hidden, torch.finfo(states.dtype).min).amax(1)
        if self.kind == "attention":
            scores = self.score(states).float()  # of the autocast precision, whose least number is another
            weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(1)
        else:
            weights = mask.unsqueeze(-1) / mask.sum(1, keepdim=True).unsqueeze(-1)
        return (weights.to(states.dtype) * states.masked_fill(hidden, 0)).sum(1)


class MeanBatchNorm(nn.Module):
    """The means (B, Z) of a batch with standard deviation γ around a learned centre, in each dimension (BN-VAE).

    In training by the batch of this process, in evaluation by the moving average of the batches.
    """

    def __init__(self, latent_size: int, scale: float):
        super().__init__()
        self.scale = scale
        # At torch's ε of 1e-5 the encoder learns to give means of so small a variance that it is not scaled up to γ.
        self.norm = nn.BatchNorm1d(latent_size, eps=1e-8, affine=False)
        self.center = nn.Parameter(torch.zeros(latent_size))

    def forward(self, mean: Tensor) -> Tensor:
        if self.training and len(mean) == 1:  # one text has no spread
            normal = nn.functional.batch_norm(mean, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
        else:
            normal = self.norm(mean)
        return self.scale * normal + self.center

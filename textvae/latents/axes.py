"""Axes of the latent space along which a text can be moved.

C labels, 1 for a model without · Z latent_size
"""

import torch
from torch import Tensor

from textvae.latents.priors import GaussianPrior


def principal_axes(prior: GaussianPrior) -> Tensor:
    """The principal axes of a fitted Gaussian, the longest first: (C, Z, Z), each row an axis (Pearson 1901).

    They are orthogonal, and each is as long as the standard deviation along it. Of each the number that is largest
    without its sign is positive.
    """
    scale = prior.scale.double()
    variances, vectors = torch.linalg.eigh(scale @ scale.mT)  # in ascending order; vectors are columns
    axes = (vectors * variances.clamp(min=0).sqrt().unsqueeze(-2)).mT.flip(-2)
    signs = axes.gather(-1, axes.abs().argmax(-1, keepdim=True)).sign()
    return (axes * signs).float()

"""Axes of the latent space along which a text can be moved.

C labels, 1 for a model without · Z latent_size
"""

import torch
from torch import Tensor

from textvae.latents.priors import GaussianPrior


def principal_components(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (…, Z) and axes (…, Z, Z), each row an axis, of a covariance (…, Z, Z), the largest variance first.

    The axes are orthonormal (Pearson 1901). Of each the number that is largest without its sign is positive.
    """
    variances, vectors = torch.linalg.eigh(covariance)  # in ascending order; vectors are columns
    axes = vectors.mT.flip(-2)
    signs = axes.gather(-1, axes.abs().argmax(-1, keepdim=True)).sign()
    return variances.flip(-1), axes * signs


def principal_axes(prior: GaussianPrior) -> Tensor:
    """The principal axes of a fitted Gaussian, the longest first: (C, Z, Z), each row an axis.

    See `principal_components`; each is as long as the standard deviation along it.
    """
    scale = prior.scale.double()
    variances, axes = principal_components(scale @ scale.mT)
    return (axes * variances.clamp(min=0).sqrt().unsqueeze(-1)).float()

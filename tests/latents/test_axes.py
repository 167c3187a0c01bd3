"""Principal axes: those of the Gaussian, whatever its labels."""

import torch

from textvae.latents import GaussianPrior, principal_axes


def test_axes_rebuild_the_covariance_and_are_sorted_and_orthogonal():
    generator = torch.Generator().manual_seed(0)
    scale = torch.randn(2, 4, 4, generator=generator).tril()
    axes = principal_axes(GaussianPrior(torch.zeros(2, 4), scale))
    assert axes.shape == (2, 4, 4)
    torch.testing.assert_close(axes.mT @ axes, scale @ scale.mT, rtol=1e-4, atol=1e-5)
    gram = axes @ axes.mT
    torch.testing.assert_close(gram, torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1)), rtol=0, atol=1e-5)
    assert (gram.diagonal(dim1=-2, dim2=-1).diff(dim=-1) <= 0).all()
    assert (axes.gather(-1, axes.abs().argmax(-1, keepdim=True)) > 0).all()


def test_axes_of_a_diagonal_are_its_dimensions():
    axes = principal_axes(GaussianPrior(torch.zeros(1, 3), torch.tensor([1.0, 3.0, 2.0]).diag()[None]))
    torch.testing.assert_close(axes[0], torch.tensor([[0.0, 3, 0], [0, 0, 2], [1, 0, 0]]))

"""A fitted prior: against the moments and densities of torch, by label, saved and damaged."""

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from textvae import InputError
from textvae.latents import GaussianPrior

N, Z = 500, 3
MIXING = torch.tensor([[1.0, 0.0, 0.0], [0.7, 0.4, 0.0], [-0.3, 0.2, 0.6]])


@pytest.fixture
def posteriors():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(N, Z, generator=generator) @ MIXING.T + torch.tensor([1.0, -2.0, 0.5])
    return mean, 0.1 + torch.rand(N, Z, generator=generator)


def drawn(prior, count=200_000, **options):
    return prior.draw(torch.randn(count, Z, generator=torch.Generator().manual_seed(1)), **options)


def test_it_has_the_mean_and_the_covariance_of_the_aggregate_posterior(posteriors):
    mean, stddev = posteriors
    prior = GaussianPrior.fit(mean, stddev)
    samples = mean.repeat(400, 1) + stddev.repeat(400, 1) * torch.randn(400 * N, Z)
    torch.testing.assert_close(prior.mean[0], samples.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(prior.scale[0] @ prior.scale[0].T, samples.T.cov(), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn(prior).T.cov(), samples.T.cov(), atol=0.03, rtol=0)


def test_no_other_gaussian_codes_the_posteriors_in_fewer_nats(posteriors):
    mean, stddev = posteriors
    logvar, prior = 2 * stddev.log(), GaussianPrior.fit(mean, stddev)
    best = prior.kl(mean, logvar).mean()
    for change in (0.9, 1.1):
        assert GaussianPrior(prior.mean, prior.scale * change).kl(mean, logvar).mean() > best
    assert GaussianPrior(prior.mean + 0.1, prior.scale).kl(mean, logvar).mean() > best
    assert GaussianPrior(prior.mean, prior.scale.diagonal(dim1=1, dim2=2).diag_embed()).kl(mean, logvar).mean() > best


def test_densities_and_kl_are_those_of_torch(posteriors):
    mean, stddev = (part.double() for part in posteriors)
    ids = torch.arange(N) % 2
    prior = GaussianPrior.fit(mean, stddev, ids.tolist(), num_labels=2)
    theirs = MultivariateNormal(prior.mean[ids].double(), scale_tril=prior.scale[ids].double())
    torch.testing.assert_close(prior.log_density(mean, ids), theirs.log_prob(mean))
    stacked = torch.stack([mean, mean + stddev])
    torch.testing.assert_close(prior.log_density(stacked, ids), theirs.log_prob(stacked))
    diagonal = MultivariateNormal(mean, scale_tril=stddev.diag_embed())
    torch.testing.assert_close(prior.kl(mean, 2 * stddev.log(), ids), kl_divergence(diagonal, theirs))


def test_the_standard_normal_is_one_of_them(posteriors):
    mean, stddev = posteriors
    standard = GaussianPrior(torch.zeros(1, Z), torch.eye(Z).unsqueeze(0))
    normal = Independent(Normal(torch.zeros(Z), torch.ones(Z)), 1)
    expected = kl_divergence(Independent(Normal(mean, stddev), 1), normal.expand((N,)))
    torch.testing.assert_close(standard.kl(mean, 2 * stddev.log()), expected)
    noise = torch.randn(4, Z)
    torch.testing.assert_close(standard.draw(noise, temperature=0.5), 0.5 * noise)


def test_each_label_has_its_own_and_one_without_texts_that_of_all(posteriors):
    mean, stddev = posteriors
    ids = [0] * 300 + [2] * 200
    prior = GaussianPrior.fit(mean, stddev, ids, num_labels=3)
    for label, texts in enumerate((slice(0, 300), slice(None), slice(300, N))):
        alone = GaussianPrior.fit(mean[texts], stddev[texts])
        torch.testing.assert_close(prior.mean[label], alone.mean[0])
        torch.testing.assert_close(prior.scale[label], alone.scale[0])
    noise = torch.randn(3, Z)
    of_each = [GaussianPrior(prior.mean[[i]], prior.scale[[i]]).draw(noise[[i]])[0] for i in (2, 0, 1)]
    torch.testing.assert_close(prior.draw(noise[[2, 0, 1]], [2, 0, 1]), torch.stack(of_each))


def test_a_single_text_is_enough():
    prior = GaussianPrior.fit(torch.ones(1, Z), torch.full((1, Z), 0.5))
    torch.testing.assert_close(prior.scale[0], 0.5 * torch.eye(Z))


def test_it_is_saved_and_opened_as_it_is(posteriors, tmp_path):
    prior = GaussianPrior.fit(*posteriors)
    prior.save(tmp_path / "prior.safetensors")
    opened = GaussianPrior.load(tmp_path / "prior.safetensors")
    assert opened.mean.equal(prior.mean) and opened.scale.equal(prior.scale)


@pytest.mark.parametrize("damage", [b"", b"\x10\0\0\0\0\0\0\0{}", "shape"])
def test_a_file_that_holds_no_prior_is_refused(tmp_path, damage):
    path = tmp_path / "prior.safetensors"
    if damage == "shape":
        GaussianPrior(torch.zeros(1, Z), torch.eye(Z + 1).unsqueeze(0)).save(path)
    else:
        path.write_bytes(damage)
    with pytest.raises(InputError, match="holds no prior"):
        GaussianPrior.load(path)


@pytest.mark.parametrize("mean", [torch.empty(0, Z), torch.full((2, Z), float("nan"))])
def test_nothing_is_fitted_to_nothing(mean):
    with pytest.raises(InputError, match="prior"):
        GaussianPrior.fit(mean, torch.ones_like(mean))

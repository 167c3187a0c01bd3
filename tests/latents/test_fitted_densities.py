"""Mixture and flow: against scipy and integrals, moments of what is drawn, by label, saved and damaged, seeds."""

import math
import sys

import pytest
import torch
from scipy.stats import multivariate_normal
from torch.distributions import Normal

from textvae import InputError
from textvae.latents import FlowPrior, GaussianPrior, MixturePrior, flow, mixture
from textvae.latents.flow import FlowSize

N = 600
SMALL = FlowSize(transforms=2, width=16)


@pytest.fixture(scope="module")
def posteriors():
    """Two heaps of codes, far apart, in two dimensions."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(N, 2, generator=generator) @ torch.tensor([[1.0, 0.4], [0.0, 0.3]])
    mean[: N // 3] += torch.tensor([6.0, -3.0])
    return mean, 0.1 + 0.2 * torch.rand(N, 2, generator=generator)


@pytest.fixture(scope="module")
def fitted(posteriors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "MAX_EPOCHS", 20)
        patch.setattr(flow, "BATCH_SIZE", 64)
        return {
            "mixture": MixturePrior.fit(*posteriors),
            "flow": FlowPrior.fit(*posteriors, size=SMALL),
            "gaussian": GaussianPrior.fit(*posteriors),
        }


@pytest.fixture(scope="module")
def of_labels(posteriors):
    """Of three labels, the second without texts; the heaps are the first and the third."""
    ids = [0] * (N // 3) + [2] * (N - N // 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "MAX_EPOCHS", 3)
        return {
            "mixture": MixturePrior.fit(*posteriors, ids, num_labels=3),
            "flow": FlowPrior.fit(*posteriors, ids, num_labels=3, size=SMALL),
        }


def noise(count, size=2, seed=1):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


KINDS = ["mixture", "flow"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_codes_new_texts_in_fewer_nats_than_a_gaussian(fitted, posteriors, kind):
    mean, stddev = posteriors
    z = mean + stddev * noise(N)
    assert fitted[kind].log_density(z).mean() > fitted["gaussian"].log_density(z).mean() + 0.1


def test_a_mixture_finds_the_heaps_and_is_what_scipy_says(fitted, posteriors):
    prior, (mean, _) = fitted["mixture"], posteriors
    assert prior.weights[0, prior.mean[0, :, 0] > 3].sum() == pytest.approx(1 / 3, abs=0.05)
    assert prior.weights.sum() == pytest.approx(1)
    z = mean.double()
    parts = zip(prior.weights[0].double(), prior.mean[0].double(), prior.scale[0].double(), strict=True)
    theirs = sum(float(w) * multivariate_normal(m, s @ s.T).pdf(z) for w, m, s in parts)
    torch.testing.assert_close(prior.log_density(z).exp(), torch.as_tensor(theirs))
    torch.testing.assert_close(prior.log_density(torch.stack([z, z + 1]))[1], prior.log_density(z + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_its_density_integrates_to_one_and_is_that_of_its_draws(fitted, kind):
    prior = fitted[kind]
    drawn = prior.draw(noise(20_000))
    low, high = drawn.min(0).values - 3, drawn.max(0).values + 3
    grid = [torch.linspace(float(a), float(b), 250) for a, b in zip(low, high, strict=True)]
    points = torch.cartesian_prod(*grid)
    cell = math.prod(float(one[1] - one[0]) for one in grid)
    share = prior.log_density(points).double().exp() * cell
    assert share.sum() == pytest.approx(1, abs=2e-3)
    torch.testing.assert_close(drawn.mean(0), (share[:, None] * points).sum(0).float(), atol=0.05, rtol=0)
    apart = points.double() - (share[:, None] * points).sum(0)
    torch.testing.assert_close(drawn.T.cov().double(), (share[:, None] * apart).T @ apart, atol=0.1, rtol=0.02)
    inside = (points[:, 0] < 2) & (points[:, 1] > 0)  # and not only the moments
    expected = float(share[inside].sum())
    assert ((drawn[:, 0] < 2) & (drawn[:, 1] > 0)).float().mean() == pytest.approx(expected, abs=0.01)


def test_draws_of_a_mixture_have_the_moments_of_the_aggregate_posterior(fitted):
    drawn, gaussian = fitted["mixture"].draw(noise(20_000)), fitted["gaussian"]
    torch.testing.assert_close(drawn.mean(0), gaussian.mean[0], atol=0.3, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), gaussian.scale[0] @ gaussian.scale[0].T, atol=0.5, rtol=0.1)


def test_a_mixture_of_one_component_and_a_flow_without_training_are_the_gaussian(posteriors, monkeypatch):
    gaussian = GaussianPrior.fit(*posteriors)
    monkeypatch.setattr(mixture, "COMPONENTS", ())
    monkeypatch.setattr(flow, "MAX_EPOCHS", 1)
    monkeypatch.setattr(flow, "LEARNING_RATE", 0.0)
    mean, stddev = posteriors
    for prior in (MixturePrior.fit(*posteriors), FlowPrior.fit(*posteriors, size=SMALL)):
        torch.testing.assert_close(prior.log_density(mean), gaussian.log_density(mean), atol=1e-4, rtol=1e-5)
        for temperature in (1.0, 0.5, 0.0):
            expected = gaussian.draw(noise(99), temperature=temperature)
            torch.testing.assert_close(prior.draw(noise(99), temperature=temperature), expected, atol=1e-4, rtol=1e-5)
        kl = gaussian.kl(mean, 2 * stddev.log())
        assert prior.kl(mean, 2 * stddev.log()).mean() == pytest.approx(float(kl.mean()), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kl_is_the_integral(fitted, kind):
    prior, mean, stddev = fitted[kind], torch.tensor([[5.5, -1.0]]), torch.tensor([[0.4, 0.3]])
    steps = torch.linspace(-6, 6, 200)
    points = mean + stddev * torch.cartesian_prod(steps, steps)
    log_q = Normal(mean, stddev).log_prob(points).sum(-1)
    cell = stddev.prod() * (steps[1] - steps[0]) ** 2
    expected = float((log_q.exp() * (log_q - prior.log_density(points))).sum() * cell)
    many = prior.kl(mean.repeat(50, 1), 2 * stddev.log().repeat(50, 1))
    assert many.mean() == pytest.approx(expected, abs=0.05)
    assert prior.kl(mean, 2 * stddev.log()).equal(prior.kl(mean, 2 * stddev.log()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_noise_gives_a_z_whatever_the_others_are(fitted, kind):
    prior, many = fitted[kind], noise(50)
    torch.testing.assert_close(torch.cat([prior.draw(part) for part in many.split(7)]), prior.draw(many))
    assert prior.draw(many[:0]).shape == (0, 2)
    cold = prior.draw(many, temperature=0.0)
    assert len(cold.unique(dim=0)) <= (prior.mean.shape[1] if kind == "mixture" else 1)
    spread = [prior.draw(many, temperature=t).var(0).sum() for t in (0.3, 1.0)]
    assert spread[0] < spread[1]


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_and_float64_change_nothing(fitted, posteriors, kind):
    prior, (mean, _) = fitted[kind], posteriors
    with torch.autocast("cpu", torch.bfloat16):
        drawn, density = prior.draw(noise(9)), prior.log_density(mean)
    assert density.equal(prior.log_density(mean)) and prior.log_density(mean.double()).dtype == torch.float64
    torch.testing.assert_close(drawn, prior.draw(noise(9)))
    torch.testing.assert_close(prior.log_density(mean.double()).float(), density, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_each_label_has_its_own(of_labels, fitted, posteriors, kind):
    prior, (mean, _) = of_labels[kind], posteriors
    assert prior.shape == (3, 2)
    ids = [2, 0] * 300
    drawn = prior.draw(noise(600), ids)
    assert drawn[1::2, 0].mean() == pytest.approx(6, abs=0.6) and drawn[::2, 0].mean() == pytest.approx(0, abs=0.6)
    alone = [prior.draw(noise(600)[[row]], [ids[row]]) for row in range(4)]
    torch.testing.assert_close(torch.cat(alone), drawn[:4])
    own = torch.tensor([0] * (N // 3) + [2] * (N - N // 3))
    assert (prior.log_density(mean, own) > prior.log_density(mean, 2 - own)).float().mean() > 0.95
    stacked = prior.log_density(torch.stack([mean, mean + 1]), own)
    torch.testing.assert_close(stacked[1], prior.log_density(mean + 1, own))
    kl = prior.kl(mean, torch.zeros_like(mean) - 3, own)
    assert kl.shape == (N,) and (kl > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_and_leaves_torchs_state(posteriors, kind, monkeypatch):
    monkeypatch.setattr(flow, "MAX_EPOCHS", 2)
    few, state = [part[::4] for part in posteriors], torch.get_rng_state()
    cls = {"mixture": MixturePrior, "flow": FlowPrior}[kind]
    one, same, other = (cls.fit(*few, seed=seed).tensors() for seed in (3, 3, 4))
    assert torch.get_rng_state().equal(state)
    assert all(one[name].equal(same[name]) for name in one)
    assert any(one[name].shape != other[name].shape or not one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_labels", [False, True])
def test_it_is_saved_and_opened_as_it_is(fitted, of_labels, kind, with_labels, tmp_path):
    prior = (of_labels if with_labels else fitted)[kind]
    prior.save(tmp_path / "prior.safetensors")
    opened = type(prior).load(tmp_path / "prior.safetensors")
    ids = [0, 2, 1] * 5 if with_labels else None
    assert opened.draw(noise(15), ids).equal(prior.draw(noise(15), ids)) and opened.shape == prior.shape
    assert all(tensor.equal(prior.tensors()[name]) for name, tensor in opened.tensors().items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [b"", b"\x10\0\0\0\0\0\0\0{}", "another kind"])
def test_a_file_that_holds_no_such_prior_is_refused(fitted, tmp_path, kind, damage):
    path = tmp_path / "prior.safetensors"
    if damage == "another kind":
        fitted["gaussian"].save(path)
    else:
        path.write_bytes(damage)
    with pytest.raises(InputError, match="holds no prior"):
        type(fitted[kind]).load(path)


@pytest.mark.parametrize("cls", [MixturePrior, FlowPrior])
def test_what_nothing_can_be_fitted_to_is_told(cls):
    for mean, told in (
        (torch.empty(0, 2), "none"),
        (torch.zeros(9, 2), "9"),
        (torch.full((20, 2), math.nan), "finite"),
    ):
        with pytest.raises(InputError, match=told):
            cls.fit(mean, torch.ones_like(mean))


def test_an_extra_that_is_missing_is_told_when_it_is_needed(fitted, posteriors, tmp_path, monkeypatch):
    fitted["flow"].save(tmp_path / "prior.safetensors")
    monkeypatch.setitem(sys.modules, "zuko", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    opened = FlowPrior.load(tmp_path / "prior.safetensors")
    for use in (lambda: opened.draw(noise(1)), lambda: FlowPrior.fit(*posteriors)):
        with pytest.raises(InputError, match=r"textvae\[flow\]"):
            use()
    with pytest.raises(InputError, match="scikit-learn"):
        MixturePrior.fit(*posteriors)

import itertools
import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from textvae.errors import InputError
from textvae.objectives.terms import (
    ROWS_AT_ONCE,
    free_bits_kl,
    importance_weighted_bound,
    logvar_of_rate,
    maximum_mean_discrepancy,
    negative_elbo,
    normal_kl,
    normal_log_density,
    similarity_difference,
)


def kl_from_standard_normal(mean, logvar):
    zero = torch.zeros((), dtype=mean.dtype)
    return normal_kl(mean, logvar, zero, zero)


def log_standard_normal(x):
    zero = torch.zeros((), dtype=x.dtype)
    return normal_log_density(x, zero, zero)


@pytest.fixture
def posterior():
    """(mean, logvar), each (B, Z) = (5, 3)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, generator=generator) * 2, torch.randn(5, 3, generator=generator) * 2


def gradient(kl, *args, **kwargs):
    kl = kl.clone().requires_grad_()
    free_bits_kl(kl, *args, **kwargs).backward()
    return kl.grad


def test_kl_equals_torch_distributions(posterior):
    mean, logvar = posterior
    expected = kl_divergence(Normal(mean, torch.exp(logvar / 2)), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_from_standard_normal(mean, logvar), expected)


def test_kl_is_zero_at_the_prior_and_positive_elsewhere(posterior):
    assert torch.equal(kl_from_standard_normal(torch.zeros(5, 3), torch.zeros(5, 3)), torch.zeros(5, 3))
    assert (kl_from_standard_normal(*posterior) > 0).all()


def test_kl_keeps_its_digits_near_the_prior():
    logvar = torch.tensor([[1e-3, -1e-3]])
    exact = kl_from_standard_normal(torch.zeros(1, 2).double(), logvar.double())
    torch.testing.assert_close(kl_from_standard_normal(torch.zeros(1, 2), logvar).double(), exact, rtol=2e-4, atol=0)


def test_log_densities_equal_torch_distributions(posterior):
    mean, logvar = posterior
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))  # (K, B, Z)
    expected = Normal(mean, torch.exp(logvar / 2)).log_prob(x).sum(-1)
    torch.testing.assert_close(normal_log_density(x, mean, logvar), expected)
    torch.testing.assert_close(log_standard_normal(x), Normal(0.0, 1.0).log_prob(x).sum(-1))


def test_kl_is_the_mean_difference_of_the_log_densities(posterior):
    mean, logvar = (tensor.double() for tensor in posterior)
    noise = torch.randn(200_000, 5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z = mean + torch.exp(logvar / 2) * noise
    estimate = (normal_log_density(z, mean, logvar) - log_standard_normal(z)).mean(0)
    torch.testing.assert_close(estimate, kl_from_standard_normal(mean, logvar).sum(-1), rtol=0.02, atol=0.02)


def test_free_bits_floor_each_dimension_and_not_their_sum():
    kl = torch.tensor([[0.1, 3.0], [0.3, 1.0]])  # means 0.2 and 2.0
    # On the sum, 2.2 nats would clear a floor of 0.5 (or of 2 · 0.5) and stay 2.2.
    assert free_bits_kl(kl, 0.5).item() == pytest.approx(0.5 + 2.0)
    assert free_bits_kl(kl, 0.25, mode="text").item() == pytest.approx((0.25 + 3.0 + 0.3 + 1.0) / 2)


def test_free_bits_of_the_batch_judge_the_mean_and_of_the_text_each_text():
    kl = torch.tensor([[0.0], [2.0]])
    assert free_bits_kl(kl, 0.5, mode="batch").item() == 1.0
    assert free_bits_kl(kl, 0.5, mode="text").item() == 1.25


def test_no_gradient_at_or_below_the_floor():
    kl = torch.tensor([[0.1, 3.0, 0.5], [0.3, 1.0, 0.5]])
    assert torch.equal(gradient(kl, 0.5), torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.5, 0.0]]))
    assert torch.equal(gradient(kl, 0.25, mode="text"), torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.5, 0.5]]))


@pytest.mark.parametrize("mode", ["batch", "text"])
def test_zero_free_bits_are_the_plain_mean_kl(posterior, mode):
    kl = kl_from_standard_normal(*posterior)
    kl[:, 0] = 0.0  # a dimension at the prior keeps its gradient, too
    torch.testing.assert_close(free_bits_kl(kl, 0.0, mode), kl.sum(-1).mean())
    torch.testing.assert_close(gradient(kl, 0.0, mode), torch.full_like(kl, 1 / len(kl)))


def test_processes_with_the_global_mean_equal_one_process():
    kl = torch.tensor([[0.0, 0.9], [0.2, 0.9], [1.0, 0.1], [1.4, 0.1]])  # means 0.65 and 0.5
    halves, mean_kl = kl.split(2), kl.mean(0)
    whole = free_bits_kl(kl, 0.6)
    parts = [free_bits_kl(half, 0.6, mean_kl=mean_kl) for half in halves]
    torch.testing.assert_close(sum(parts) / 2, whole)
    grads = torch.cat([gradient(half, 0.6, mean_kl=mean_kl) for half in halves]) / 2
    torch.testing.assert_close(grads, gradient(kl, 0.6))
    # Judged on local means alone, the processes disagree with the one.
    assert sum(free_bits_kl(half, 0.6) for half in halves).item() / 2 != pytest.approx(whole.item())


@pytest.mark.parametrize("mode", ["batch", "text"])
def test_free_bits_do_not_hide_a_nan(mode):
    assert free_bits_kl(torch.tensor([[float("nan"), 1.0]]), 0.5, mode).isnan()


def test_negative_elbo_is_reconstruction_plus_kl(posterior):
    kl = kl_from_standard_normal(*posterior)
    reconstruction = torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0])
    torch.testing.assert_close(negative_elbo(reconstruction, kl), (reconstruction + kl.sum(-1)).mean())
    torch.testing.assert_close(negative_elbo(reconstruction, kl, beta=0.0), torch.tensor(30.0))
    tempered = negative_elbo(reconstruction, kl, 0.3, 2.0, "text")
    torch.testing.assert_close(tempered, 30 + 0.3 * free_bits_kl(kl, 2.0, "text"))


def test_negative_elbo_bounds_the_evidence_tightly_at_the_true_posterior():
    # p(z) = N(0, 1), p(x|z) = N(z, 1), so p(x) = N(0, 2) and p(z|x) = N(x/2, 1/2).
    x = torch.tensor([[0.7], [-2.0]])
    mean, logvar = x / 2, torch.full_like(x, 0.5).log()
    expected_square = (x - mean).square() + torch.exp(logvar)
    reconstruction = (0.5 * (expected_square + torch.log(torch.tensor(2 * torch.pi)))).squeeze(1)
    evidence = -Normal(0.0, 2**0.5).log_prob(x).mean()
    torch.testing.assert_close(negative_elbo(reconstruction, kl_from_standard_normal(mean, logvar)), evidence)


def test_wrong_arguments_are_named():
    kl = torch.ones(2, 3)
    with pytest.raises(InputError, match="'batch' or 'text', not 'batches'"):
        free_bits_kl(kl, 0.5, mode="batches")
    for free_bits in (-0.1, float("nan")):
        with pytest.raises(InputError, match="free_bits must be at least 0"):
            negative_elbo(torch.ones(2), kl, free_bits=free_bits)


# the committed rate

RATES = [1e-6, 1e-4, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 20.0]


def kl_at(mean, logvar):
    return kl_from_standard_normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(logvar, dtype=torch.float64))


@pytest.mark.parametrize("rate", RATES)
def test_the_log_variance_of_a_rate_has_that_rate(rate):
    assert logvar_of_rate(rate) < 0
    assert kl_at(0.0, logvar_of_rate(rate)).item() == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_no_other_mean_and_no_smaller_variance_has_less(rate):
    logvar = torch.linspace(logvar_of_rate(rate) - 5, logvar_of_rate(rate), 200, dtype=torch.float64)
    mean = torch.linspace(-3, 3, 101, dtype=torch.float64)[:, None]
    kl = kl_from_standard_normal(mean, logvar)
    assert kl.min() == kl[50, -1] and (kl >= rate * (1 - 1e-6)).all()


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_nothing_can_commit_to_is_refused(rate):
    with pytest.raises(InputError, match="committed rate must be above 0"):
        logvar_of_rate(rate)


# the maximum mean discrepancy


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_discrepancy_is_that_of_a_double_loop():
    latents, prior = normal(4, 3), normal(4, 3, seed=1)

    def kernel(a, b):
        return 6 / (6 + sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)))

    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    within = sum(kernel(latents[i], latents[j]) + kernel(prior[i], prior[j]) for i, j in pairs) / 12
    between = sum(kernel(a, b) for a in latents for b in prior) / 16
    assert maximum_mean_discrepancy(latents, prior).item() == pytest.approx(within - 2 * between, rel=1e-5)


def test_the_discrepancy_of_one_distribution_is_zero_in_expectation():
    draws = torch.stack([maximum_mean_discrepancy(*normal(2, 16, 5, seed=seed)) for seed in range(400)])
    assert abs(draws.mean()) < 3 * draws.std() / 20
    assert draws.min() < 0 < draws.max(), "unbiased, it is not held above 0"


def test_the_discrepancy_grows_as_the_codes_leave_the_prior():
    latents, prior = normal(256, 5), normal(256, 5, seed=1)
    moved = [maximum_mean_discrepancy(latents + shift, prior).item() for shift in (0, 0.25, 0.5, 1, 2)]
    narrowed = [maximum_mean_discrepancy(latents * scale, prior).item() for scale in (1, 0.75, 0.5, 0.25, 0)]
    widened = [maximum_mean_discrepancy(latents * scale, prior).item() for scale in (1, 1.5, 2, 3, 5)]
    for values in (moved, narrowed, widened):
        assert values == sorted(values) and values[-1] > values[0] + 0.1


def test_the_gradient_of_the_discrepancy_draws_the_codes_to_the_prior():
    latents, prior = (normal(64, 3) + 2).requires_grad_(), normal(64, 3, seed=1)
    maximum_mean_discrepancy(latents, prior).backward()
    assert latents.grad.isfinite().all() and (latents.grad.mean(0) > 0).all()
    with torch.no_grad():
        nearer = maximum_mean_discrepancy(latents - 5 * latents.grad, prior)
        assert nearer < maximum_mean_discrepancy(latents, prior)


def test_one_text_has_no_discrepancy():
    latents = normal(1, 3).requires_grad_()
    value = maximum_mean_discrepancy(latents, normal(1, 3, seed=1))
    value.backward()
    assert value.item() == 0 and torch.equal(latents.grad, torch.zeros(1, 3))


# the importance-weighted bound: z from N(0, I), x = W z + noise · ε, so that x is from N(0, W Wᵀ + noise² I)

NOISE = 0.7


@pytest.fixture
def linear():
    """(log p(x|z), exact -log p(x) (B,), mean and logvar (B, Z) of p(z|x)); the columns of W are orthogonal."""
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(5, 4, generator=generator, dtype=torch.float64)  # (B, D)
    columns, _ = torch.linalg.qr(torch.randn(4, 3, generator=generator, dtype=torch.float64))
    weights = columns * torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)  # (D, Z)
    covariance = weights @ weights.T + NOISE**2 * torch.eye(4, dtype=torch.float64)
    exact = -MultivariateNormal(torch.zeros(4, dtype=torch.float64), covariance).log_prob(x)
    precision = 1 + weights.square().sum(0) / NOISE**2  # (Z,)
    mean = x @ weights / NOISE**2 / precision
    return (
        lambda latents: Normal(latents @ weights.T, NOISE).log_prob(x).sum(-1),
        exact,
        mean,
        -precision.log().expand_as(mean),
    )


@pytest.mark.parametrize("num_samples", [1, 2, 64, 1000])
def test_the_bound_is_exact_at_the_true_posterior(linear, num_samples):
    log_likelihood, exact, mean, logvar = linear
    torch.testing.assert_close(importance_weighted_bound(log_likelihood, mean, logvar, num_samples), exact)


def test_the_bound_meets_the_closed_form_and_tightens(linear):
    log_likelihood, exact, mean, logvar = linear
    torch.manual_seed(0)
    means, errors = [], []
    for num_samples in (1, 10, 100, 3000):
        draws = [importance_weighted_bound(log_likelihood, 0.7 * mean, logvar + 0.7, num_samples) for _ in range(60)]
        means.append(torch.stack(draws).mean(0))
        errors.append(torch.stack(draws).std(0) / math.sqrt(60))
    assert all(looser.mean() > tighter.mean() for looser, tighter in itertools.pairwise(means))
    assert errors[-1].max() < 0.01 and ((means[-1] - exact).abs() < 3 * errors[-1]).all()
    assert (means[0] > exact + 0.2).all(), "it was no true posterior"


def test_more_samples_need_no_more_memory():
    mean, held = torch.zeros(64, 3), {}
    for num_samples in (10, 5000):
        rows = []
        importance_weighted_bound(
            lambda latents, rows=rows: rows.append(latents.shape[:2].numel()) or latents.sum(-1),
            mean,
            mean,
            num_samples,
        )
        assert sum(rows) == 64 * num_samples
        held[num_samples] = max(rows)
    assert held[5000] == held[10] == ROWS_AT_ONCE


def test_a_bound_from_no_sample_is_refused(linear):
    log_likelihood, _, mean, logvar = linear
    with pytest.raises(InputError, match="num_samples is 0, it must be at least 1"):
        importance_weighted_bound(log_likelihood, mean, logvar, 0)


def test_similarities_that_are_equal_do_not_differ():
    embeddings = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)))[0]
    centred = embeddings - embeddings.mean(0)
    assert float(similarity_difference(3 * centred @ rotation, embeddings + 2)) == pytest.approx(0, abs=1e-10)


def test_the_difference_of_similarities_of_two_texts_by_hand():
    """The embeddings of two texts are opposite once their mean is taken away: −1 off the diagonal."""
    means, embeddings = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0, 4.0], [5.0, 2.0, 1.0]])
    assert float(similarity_difference(means, embeddings)) == pytest.approx((0 + 1 + 1 + 0) / 4)
    assert float(similarity_difference(-embeddings, embeddings)) > 0

"""The chunked softmax: its values and gradients are those of the plain one, and it computes no more than is asked."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.functional import cross_entropy, linear
from torch.utils.flop_counter import FlopCounterMode

from textvae.modeling import cross_entropy as kernel
from textvae.modeling.cross_entropy import linear_cross_entropy, transform_logits

N, H, V = 23, 6, 31


def tensors(n=N, bias=True, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden, weight = torch.randn(n, H, generator=generator), scale * torch.randn(V, H, generator=generator)
    bias = torch.randn(V, generator=generator) if bias else None
    return hidden, weight, bias, torch.randint(V, (n,), generator=generator)


def with_gradients(function, upstream, hidden, weight, bias, labels):
    """Value, and the gradients of `upstream · value` to hidden, weight and bias."""
    leaves = [tensor.clone().requires_grad_() for tensor in (hidden, weight, bias) if tensor is not None]
    nll = function(*leaves, *([None] if bias is None else []), labels)
    nll.backward(upstream)
    return nll.detach(), *(leaf.grad for leaf in leaves)


def plain(hidden, weight, bias, labels):
    return cross_entropy(linear(hidden, weight, bias), labels, reduction="none")


UPSTREAM = {
    "sum": torch.ones(N),
    "scaled": torch.full((N,), -0.3),
    "weighted": torch.randn(N, generator=torch.Generator().manual_seed(5)),
    "one text": torch.arange(N).lt(4).float(),
    "nothing": torch.zeros(N),
}


@pytest.mark.parametrize("rows", [1, 4, N - 1, N, N + 1, 1000])
@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_plain_cross_entropy(monkeypatch, rows, upstream, bias):
    monkeypatch.setattr(kernel, "CHUNK_LOGITS", rows * V)
    found = with_gradients(linear_cross_entropy, UPSTREAM[upstream], *tensors(bias=bias))
    expected = with_gradients(plain, UPSTREAM[upstream], *tensors(bias=bias))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch has a linear_cross_entropy from 2.13 on")
@pytest.mark.parametrize("rows", [4, N])
@pytest.mark.parametrize("upstream", ["sum", "weighted"])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torchs_own(monkeypatch, rows, upstream, bias):
    monkeypatch.setattr(kernel, "CHUNK_LOGITS", rows * V)

    def of_torch(hidden, weight, bias, labels):
        return F.linear_cross_entropy(hidden, weight, labels, linear_bias=bias, reduction="none")

    found = with_gradients(linear_cross_entropy, UPSTREAM[upstream], *tensors(bias=bias))
    expected = with_gradients(of_torch, UPSTREAM[upstream], *tensors(bias=bias))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


CHANGES = {
    "softcap": {"softcap": 1.5},
    "scale": {"scale": 0.3},
    "both": {"scale": 2.0, "softcap": 1.5},
    "far beyond the softcap": {"scale": 30.0, "softcap": 2.0},
}


@pytest.mark.parametrize("rows", [4, N, 1000])
@pytest.mark.parametrize("upstream", ["sum", "weighted"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_scaled_and_bounded_logits(monkeypatch, rows, upstream, bias, change):
    monkeypatch.setattr(kernel, "CHUNK_LOGITS", rows * V)
    changes, values = CHANGES[change], tensors(bias=bias)

    def by_autograd(hidden, weight, bias, labels):
        logits = changes.get("scale", 1.0) * linear(hidden, weight, bias)
        if "softcap" in changes:
            logits = changes["softcap"] * (logits / changes["softcap"]).tanh()
        return cross_entropy(logits, labels, reduction="none")

    found = with_gradients(lambda *parts: linear_cross_entropy(*parts, **changes), UPSTREAM[upstream], *values)
    expected = with_gradients(by_autograd, UPSTREAM[upstream], *values)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(*values, **changes), found[0])
    logits = transform_logits(linear(*values[:3]), **changes)
    torch.testing.assert_close(cross_entropy(logits, values[3], reduction="none"), found[0])


def test_a_wide_softcap_keeps_the_nats_of_extreme_logits():
    values = tensors(scale=200.0)

    def by_autograd(hidden, weight, bias, labels):
        return cross_entropy(100 * (linear(hidden, weight, bias) / 100).tanh(), labels, reduction="none")

    expected = with_gradients(by_autograd, torch.ones(N), *values)
    assert expected[0].max() > 100
    found = with_gradients(lambda *parts: linear_cross_entropy(*parts, softcap=100.0), torch.ones(N), *values)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("change", ["softcap", "both"])
def test_under_bf16_autocast_bounded_logits_stay_close(change):
    def autocast(*values):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return linear_cross_entropy(*values, **CHANGES[change])

    found = with_gradients(autocast, torch.ones(N), *tensors())
    exact = with_gradients(lambda *parts: linear_cross_entropy(*parts, **CHANGES[change]), torch.ones(N), *tensors())
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


def test_a_vocabulary_larger_than_a_chunk_goes_row_by_row(monkeypatch):
    monkeypatch.setattr(kernel, "CHUNK_LOGITS", V // 2)
    torch.testing.assert_close(linear_cross_entropy(*tensors()), plain(*tensors()))


def test_gradients_agree_with_finite_differences():
    hidden, weight, bias, labels = (t.double() if t.is_floating_point() else t for t in tensors(5))
    leaves = [tensor.requires_grad_() for tensor in (hidden, weight, bias)]
    torch.autograd.gradcheck(
        lambda *parts: linear_cross_entropy(*parts, labels).double() * torch.arange(5),
        leaves,
        eps=1e-2,
        atol=1e-3,
        nondet_tol=0,
    )


@pytest.mark.parametrize("bias", [True, False])
def test_no_token_at_all(bias):
    nll, *gradients = with_gradients(linear_cross_entropy, torch.ones(0), *tensors(0, bias))
    assert nll.shape == (0,)
    assert [tuple(gradient.shape) for gradient in gradients] == [(0, H), (V, H), (V,)][: 2 + bias]
    assert all((gradient == 0).all() for gradient in gradients)
    with torch.no_grad():
        assert linear_cross_entropy(*tensors(0, bias)).shape == (0,)


def test_the_value_is_the_same_with_and_without_gradients():
    hidden, weight, bias, labels = tensors()
    recorded = linear_cross_entropy(hidden, weight.requires_grad_(), bias, labels)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden, weight, bias, labels), recorded)
    assert recorded.dtype == torch.float32


def test_extreme_logits_keep_their_nats():
    """A probability below 1e-38 is no number in fp32; its logarithm is."""
    values = tensors(scale=200.0)
    expected = with_gradients(plain, torch.ones(N), *values)
    assert expected[0].max() > 200
    found = with_gradients(linear_cross_entropy, torch.ones(N), *values)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_nan_and_infinity_are_not_hidden():
    hidden, weight, bias, labels = tensors()
    hidden[3, 0], hidden[5, 0] = float("nan"), float("inf")
    nll, grad_hidden, grad_weight, _ = with_gradients(linear_cross_entropy, torch.ones(N), hidden, weight, bias, labels)
    assert nll[[3, 5]].isnan().all() and nll.isnan().sum() == 2
    assert grad_weight.isnan().any()


@pytest.mark.parametrize("upstream", ["sum", "weighted"])
def test_under_bf16_autocast_values_and_gradients_stay_close(upstream):
    def autocast(*values):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return linear_cross_entropy(*values)

    found = with_gradients(autocast, UPSTREAM[upstream], *tensors())
    expected = with_gradients(plain, UPSTREAM[upstream], *tensors())
    assert [tensor.dtype for tensor in found] == [torch.float32] * 4
    for one, other in zip(found, expected, strict=True):
        assert not torch.equal(one, other)  # the products did run in bf16
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("upstream", ["sum", "weighted"])
def test_in_fp16_a_lower_loss_scale_keeps_large_gradients_finite(upstream):
    """A sum over many tokens that fp16 cannot hold, which the loss scale is there to bring down."""
    count, scale = 4096, 2.0**-8
    hidden = torch.full((count, H), 40.0, requires_grad=True)
    weight = torch.zeros(V, H, requires_grad=True)
    weights = torch.ones(count) if upstream == "sum" else torch.linspace(0.5, 1.5, count)
    with torch.autocast("cpu", torch.float16):
        nll = linear_cross_entropy(hidden, weight, None, torch.zeros(count, dtype=torch.long))
    (nll * weights * scale).sum().backward()
    expected = torch.full((V, H), 1 / V)
    expected[0] -= 1
    assert float(expected.abs().max()) * 40 * count > torch.finfo(torch.float16).max
    torch.testing.assert_close(weight.grad / scale, expected * 40 * count, rtol=0.01, atol=1.0)


@pytest.mark.parametrize(
    ("wanted", "products"), [("", 1), ("h", 2), ("w", 2), ("hw", 3), ("hwb", 3), ("b", 1), ("hb", 2)]
)
def test_only_the_gradients_that_are_wanted_are_computed(wanted, products):
    """A frozen softmax has no gradient and costs none."""
    hidden, weight, bias, labels = tensors()
    for tensor, name in ((hidden, "h"), (weight, "w"), (bias, "b")):
        tensor.requires_grad_(name in wanted)
    with FlopCounterMode(display=False) as counter:
        nll = linear_cross_entropy(hidden, weight, bias, labels)
        if wanted:
            nll.sum().backward()
    assert counter.get_total_flops() == products * 2 * N * H * V
    assert [tensor.grad is not None for tensor in (hidden, weight, bias)] == [name in wanted for name in "hwb"]
    expected = with_gradients(plain, torch.ones(N), *(tensor.detach() for tensor in (hidden, weight, bias, labels)))
    for tensor, gradient in zip((hidden, weight, bias), expected[1:], strict=True):
        if tensor.grad is not None:
            torch.testing.assert_close(tensor.grad, gradient, rtol=1e-5, atol=1e-6)


def test_without_gradients_only_the_values_are_computed():
    hidden, weight, bias, labels = tensors()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        linear_cross_entropy(hidden.requires_grad_(), weight.requires_grad_(), bias, labels)
    assert counter.get_total_flops() == 2 * N * H * V

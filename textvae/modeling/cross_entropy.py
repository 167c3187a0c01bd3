"""Cross-entropy over the vocabulary, in chunks, so that the logits of a whole batch are never in memory at once.

N predicted tokens · H hidden size · V vocabulary
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# torch 2.13 has a `linear_cross_entropy` of its own, with which this one agrees (see the tests). Ours stays: it bounds
# logits (softcap), computes nothing twice, and runs on torch 2.8.
CHUNK_LOGITS = 2**22  # logits in memory at once: 16 MB in fp32, about the size of a CPU's cache


def transform_logits(logits: Tensor, scale: float = 1.0, softcap: float | None = None) -> Tensor:
    """`softcap` · tanh(`scale` · logits / `softcap`) for logits of any shape; `scale` · logits without a `softcap`.

    Cohere and Granite scale their logits; Gemma 2 bounds them (Gemma Team 2024, section 2).
    """
    if scale != 1:
        logits = logits * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    scale: float = 1.0,
    softcap: float | None = None,
) -> Tensor:
    """-log softmax(hidden · weightᵀ + bias) at `labels`, in nats, without all (N, V) logits in memory.

    [`transform_logits`] is applied to the logits before the softmax. If gradients are enabled, those of a chunk are
    computed right after its logits, so nothing is computed twice, except in fp16. Matrix products run in the autocast
    precision, the softmax in fp32.

    Args:
        hidden: (N, H).
        weight: (V, H), the output embeddings.
        bias: (V,) or None.
        labels: (N,), each in 0 … V - 1.
        scale, softcap: see [`transform_logits`].

    Returns:
        (N,) in fp32.
    """
    device = hidden.device.type
    if scale != 1:  # scaling the inputs scales the logits, and autograd differentiates it
        hidden, bias = hidden * scale, None if bias is None else bias * scale
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if not torch.is_grad_enabled():
        return _token_nll(hidden, weight, bias, labels, softcap)
    return _LinearCrossEntropy.apply(hidden, weight, bias, labels, softcap)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, labels, softcap):
        if not any(ctx.needs_input_grad):
            return _token_nll(hidden, weight, bias, labels, softcap)
        ctx.softcap = softcap
        if hidden.dtype == torch.float16:  # sums over tokens may overflow before `grad_nll`, the loss scale, is in them
            ctx.save_for_backward(hidden, weight, bias, labels)
            return _token_nll(hidden, weight, bias, labels, softcap)
        nll, gradients = _token_nll_and_gradients(hidden, weight, bias, labels, softcap, ctx.needs_input_grad, None)
        ctx.save_for_backward(hidden, weight, bias, labels, *gradients)
        return nll

    @staticmethod
    def backward(ctx, grad_nll):
        hidden, weight, bias, labels, *gradients = ctx.saved_tensors
        if gradients and bool((grad_nll == grad_nll[:1]).all()):  # all tokens have the same weight, or there are none
            scale = grad_nll[0] if grad_nll.numel() else 1.0
            return *(None if gradient is None else gradient * scale for gradient in gradients), None, None
        needed = ctx.needs_input_grad
        _, gradients = _token_nll_and_gradients(hidden, weight, bias, labels, ctx.softcap, needed, grad_nll)
        return *gradients, None, None


def _chunks(hidden: Tensor, weight: Tensor):
    size = max(1, CHUNK_LOGITS // weight.shape[0])
    return (slice(start, min(start + size, len(hidden))) for start in range(0, len(hidden), size))


def _token_nll(hidden, weight, bias, labels, softcap) -> Tensor:
    nll = hidden.new_empty(labels.shape, dtype=torch.float32)
    for rows in _chunks(hidden, weight):
        logits = transform_logits(F.linear(hidden[rows], weight, bias).float(), softcap=softcap)
        nll[rows] = F.cross_entropy(logits, labels[rows], reduction="none")
    return nll


def _cap(logits, softcap, out) -> Tensor:
    """Write the capped logits to `out`, always in fp32: near its bound the slope of tanh needs every digit."""
    return out.copy_(logits).div_(softcap).tanh_().mul_(softcap)


def _token_nll_and_gradients(hidden, weight, bias, labels, softcap, needed, grad_nll):
    """The nll of each token, and the gradients of the sum over tokens (weighted by `grad_nll`, if given).

    `needed` tells which gradients to compute, those of hidden, weight and bias; the others are None.
    """
    nll = hidden.new_empty(labels.shape, dtype=torch.float32)
    grad_hidden = torch.empty_like(hidden) if needed[0] else None
    grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needed[1] else None
    grad_bias = torch.zeros_like(bias, dtype=torch.float32) if needed[2] else None
    tiny = torch.finfo(torch.float32).tiny
    # All chunks reuse these buffers: the page faults of new ones would cost more than the arithmetic in them.
    chunks = list(_chunks(hidden, weight))
    size = chunks[0].stop if chunks else 0
    all_logits = hidden.new_empty(size, weight.shape[0])
    all_errors = hidden.new_empty(size, weight.shape[0], dtype=torch.float32)
    all_capped = None if softcap is None else torch.empty_like(all_errors)
    for rows in chunks:
        target = labels[rows, None]
        logits, error = all_logits[: len(target)], all_errors[: len(target)]
        torch.mm(hidden[rows], weight.t(), out=logits)
        if bias is not None:
            logits += bias
        capped = logits if all_capped is None else _cap(logits, softcap, out=all_capped[: len(target)])
        torch.softmax(capped, -1, dtype=torch.float32, out=error)
        correct = error.gather(-1, target)
        nll[rows] = -correct.log().squeeze(-1)
        lost = correct.squeeze(-1) < tiny  # above 87 nats the probability underflows in fp32; its logarithm does not
        if lost.any():
            nll[rows][lost] = F.cross_entropy(capped[lost].float(), labels[rows][lost], reduction="none")
        error.scatter_(-1, target, correct - 1)  # ∂nll/∂capped
        if softcap is not None:
            error *= capped.div_(softcap).square_().neg_().add_(1)  # ∂capped/∂logits = 1 - tanh²
        if grad_nll is not None:
            error *= grad_nll[rows, None]
        if grad_bias is not None:
            grad_bias += error.sum(0)
        error = logits.copy_(error)
        if grad_hidden is not None:
            torch.mm(error, weight, out=grad_hidden[rows])
        if grad_weight is not None:
            grad_weight += error.t() @ hidden[rows]
    gradients = zip((grad_hidden, grad_weight, grad_bias), (hidden, weight, bias), strict=True)
    return nll, tuple(None if grad is None or of is None else grad.to(of.dtype) for grad, of in gradients)

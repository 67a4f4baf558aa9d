"""Fused output layer and cross-entropy: the (tokens, vocabulary) logits are never stored as a whole.

The logits are computed for a chunk of rows at a time and turned into loss *and* gradient while they are in the cache.
The backward pass needs only tensors of the size of the layer's input and weights. With z = W h + b, p = softmax(z),
smoothing ε over V classes (Szegedy et al. 2016) and target y:

    loss    = logΣexp z - (1 - ε) z_y - ε mean(z)
    ∂loss/∂z = p - (1 - ε) onehot(y) - ε / V

Only p needs passes over all classes. logΣexp z is max z - log max p, and the mean of the logits is h · mean(W) +
mean(b). The last two terms of the gradient change one row of W per token, or all rows alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s import devices
from s2s.nn.kernels.function import Function, compute_dtype
from s2s.nn.kernels.triton_modules import triton_module

# Largest number of logits in a chunk. On a CPU, a chunk below it has as many rows as W has columns, which balances the
# passes over the logits against those over W's gradient. A GPU needs large multiplications and few passes over W's
# gradient; the buffers of a chunk have up to 12 bytes for each logit, 0.8 GB.
_CHUNK = 1 << 22
_GPU_CHUNK = 1 << 26


class _Softmax:
    """Softmax of a chunk's logits with torch's functions; all chunks share its buffers.

    Allocation would cost more than the computation.

    Args:
        raw: (rows, V) of the largest chunk's logits, in the compute dtype.
        exact: dtype of the results' sums.
    """

    def __init__(self, raw: Tensor, exact: torch.dtype) -> None:
        self.logits = torch.empty_like(raw, dtype=exact)
        self.softmax = torch.empty_like(self.logits)

    def __call__(self, z: Tensor, log_sums: Tensor, counts: Tensor | None) -> Tensor:
        """Fills log_sums (N,) from logits (N, V) and returns p (N, V); counts (N, 1) are factors of its rows."""
        logits = self.logits[: len(z)].copy_(z)
        probabilities = torch.softmax(logits, dim=1, out=self.softmax[: len(z)])
        log_sums.copy_(logits.amax(dim=1) - probabilities.amax(dim=1).log())
        if counts is not None:
            probabilities.mul_(counts)
        return probabilities


class _FusedSoftmax:
    """The same in the logits' memory, by one GPU kernel."""

    def __init__(self, kernels: Any, like: Tensor) -> None:
        self.kernels, self.ones = kernels, torch.ones_like(like)

    def __call__(self, z: Tensor, log_sums: Tensor, counts: Tensor | None) -> Tensor:
        weights = self.ones[: len(z)] if counts is None else counts[:, 0]
        return self.kernels.softmax_(z, log_sums, weights)  # type: ignore[no-any-return]


class _ProjectedCrossEntropy(Function):
    @staticmethod
    def forward(
        ctx: Any,
        compute: torch.dtype,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        mask: Tensor | None,
        smoothing: float,
    ) -> tuple[Tensor, Tensor]:
        exact = torch.promote_types(compute, torch.float32)
        tokens, classes = hidden.size(0), weight.size(0)
        needs_grad = any(ctx.needs_input_grad[1:4])
        h, w = hidden.to(compute), weight.to(compute)
        counts = None if mask is None else mask.to(exact).unsqueeze(1)
        b = w.new_zeros(classes) if bias is None else bias.to(compute)
        log_sums = torch.empty(tokens, dtype=exact, device=hidden.device)
        grads = [log_sums.new_zeros(shape) for shape in (h.shape, w.shape, (classes,))] if needs_grad else None
        rows = _GPU_CHUNK // classes if devices.on_gpu(h) else min(h.size(1), _CHUNK // classes)
        raw = h.new_empty(max(1, min(tokens, max(32, rows))), classes)
        kernels = triton_module("triton_softmax", raw)
        softmax = _Softmax(raw, exact) if kernels is None else _FusedSoftmax(kernels, log_sums[: len(raw)])
        for start in range(0, tokens, len(raw)):
            chunk = h[start : start + len(raw)]
            at = slice(start, start + len(chunk))
            z = torch.addmm(b, chunk, w.T, out=raw[: len(chunk)])
            probabilities = softmax(z, log_sums[at], None if counts is None else counts[at])
            if grads is not None:
                grad_h, grad_w, grad_b = grads
                p = z.copy_(probabilities)  # rounded to the compute dtype, in the logits' memory
                grad_h[at] = p @ w
                grad_w += p.T @ chunk
                grad_b += probabilities.sum(dim=0, dtype=exact)

        h, w, b = h.to(exact), w.to(exact), b.to(exact)
        mean_w, mean_b = w.mean(dim=0), b.mean()
        target_weights = w.index_select(0, target)
        at_target = (h * target_weights).sum(dim=1) + b.index_select(0, target)
        nlls, target_minus_mean = log_sums - at_target, at_target - h @ mean_w - mean_b
        total: Tensor | int = tokens
        ones = torch.ones_like(at_target)
        if counts is not None:
            ones = counts[:, 0]
            nlls, target_minus_mean, h, total = nlls * ones, target_minus_mean * ones, h * counts, ones.sum()
        nll = nlls.sum()
        loss = nll + smoothing * target_minus_mean.sum()
        if grads is not None:
            grad_h, grad_w, grad_b = grads
            by_target = target_weights.mul_(1 - smoothing).add_(mean_w, alpha=smoothing)
            grad_h -= by_target if counts is None else by_target.mul_(counts)
            grad_w.index_add_(0, target, h, alpha=smoothing - 1)
            grad_w -= h.sum(dim=0) * (smoothing / classes)
            grad_b.index_add_(0, target, ones, alpha=smoothing - 1)
            grad_b -= total * (smoothing / classes)
        ctx.save_for_backward(*(grads or ()))
        ctx.inputs = hidden, weight, bias
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grad_h, grad_w, grad_b = ctx.saved_tensors
        hidden, weight, bias = ctx.inputs
        return (
            None,
            (grad_h * grad_loss).to(hidden.dtype),
            (grad_w * grad_loss).to(weight.dtype),
            None if bias is None else (grad_b * grad_loss).to(bias.dtype),
            *(None, None, None),
        )


def projected_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    smoothing: float = 0.0,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of `softmax(hidden weightᵀ + bias)` against `target`, summed, in nats.

    Args:
        hidden: (N, D), one row for each target token.
        weight: (V, D).
        bias: (V,) or None.
        target: (N,) class of each row.
        smoothing: label smoothing ε.
        mask: (N,) bool, False at rows to ignore, such as padding; None for no such rows.

    Returns:
        The training loss, and the loss without smoothing (detached). Both are fp32, or float64 for float64 inputs.
        Under autocast the matrix multiplications run in autocast's dtype.
    """
    loss, nll = _ProjectedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        compute_dtype(weight), hidden, weight, bias, target, mask, smoothing
    )
    return loss, nll


def token_log_probs(hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> Tensor:
    """(…, D) hidden and (…) target -> (…) log-probability of each target, in nats, fp32 or wider."""
    logits = F.linear(hidden, weight, bias)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.log_softmax(logits, dim=-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)

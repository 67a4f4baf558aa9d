"""Back-propagation through time by hand: a whole sequence of a built-in cell as one node of the autograd graph.

Autograd would record some twenty small operations for each step and walk them back one by one. Here the forward pass
keeps what the backward pass needs, and the backward pass walks time once, with one matrix product a step.

δv is the gradient of the loss with respect to v. a_t = gx_t + W h_{t-1} are a step's pre-activations, gx the input's
part. For every cell

    δgx_t = δa_t,      δh_{t-1} receives δa_t W,      δW = Σ_t δa_tᵀ h_{t-1}

and as W is shared by all steps, the last sum is one matrix product over the rows of all steps after the walk. δh_t is
what arrives from above (the output at t) plus what arrives from step t + 1. With σ' = σ (1 - σ) and tanh' = 1 - tanh²,
what is left is how δh_t becomes δa_t, which is each cell's own: see `rnn`, `lstm`, `gru`, `mgu` and `sru` beside this
module.

`Sequence` runs a cell's `StepKernel` over a whole input; `s2s.nn.kernels.attention` runs one with an attention between
the steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s.nn.kernels.function import Function
from s2s.nn.kernels.stepping import State, StepKernel


class Sequence(Function):
    """`Sequence.apply(kernel, compute dtype, sizes, n, *gx, *first state, *parameters)` -> (…, N, H) of each state.

    n tensors gx (N, G·H), packed by `sizes`; with n > 1 the state and the parameters have an axis n in front.
    """

    @staticmethod
    def forward(
        ctx: Any, kind: type[StepKernel], compute: torch.dtype, sizes: list[int], n: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        gx, tensors = tensors[:n], tensors[n:]
        ctx.kind, ctx.sizes, ctx.compute = kind, sizes, compute
        ctx.types = [part.dtype for part in gx]
        ctx.set_materialize_grads(False)
        first, parameters = tensors[: kind.num_states], tensors[kind.num_states :]
        kernel = kind(ctx.compute, *parameters)
        kernel.begin(laid_out(gx, first[0]), first, sizes)
        state = first
        for t, rows in enumerate(sizes):
            if rows < state[0].size(-2):
                state = tuple(s[..., :rows, :] for s in state)
            state = kernel.step(t, state)
        saved = kernel.saved()
        ctx.save_for_backward(*tensors, *saved)
        ctx.given = len(tensors)
        return saved[: kind.num_states]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        given, saved = ctx.saved_tensors[: ctx.given], ctx.saved_tensors[ctx.given :]
        first, parameters = given[: ctx.kind.num_states], given[ctx.kind.num_states :]
        kernel = ctx.kind(ctx.compute, *parameters)
        kernel.resume(first, saved, ctx.sizes)
        carried: State = tuple(torch.zeros_like(s[..., : ctx.sizes[-1], :]) for s in first)
        steps = [None if g is None else g.split_with_sizes(ctx.sizes, -2) for g in grads]
        for t in range(len(ctx.sizes) - 1, -1, -1):
            above = [None if g is None else g[t] for g in steps]
            arrived = tuple(_sum(c, g, ctx.sizes[t]) for c, g in zip(carried, above, strict=True))
            carried, _ = kernel.back(t, arrived)
        dgx, of_weight, _, *of_biases = kernel.gradients()
        parts = [dgx] if len(ctx.types) == 1 else dgx.unbind(0)
        return (
            *(None, None, None, None),
            *(part.to(kind) for part, kind in zip(parts, ctx.types, strict=True)),
            *carried,
            *(d.to(p.dtype) for d, p in zip((of_weight, *of_biases), parameters, strict=True)),
        )


def laid_out(gx: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """A copy of one (N, G·H), or of several as (n, N, G·H), in the type of `like`."""
    if len(gx) == 1:
        return gx[0].to(like.dtype, copy=True)
    together = like.new_empty(len(gx), *gx[0].shape)
    for part, whole in zip(gx, together, strict=True):
        whole.copy_(part)
    return together


def _sum(carried: Tensor, above: Tensor | None, rows: int) -> Tensor:
    """What arrives at a step's state: from the step after it, which may have fewer rows, and from above."""
    if carried.size(-2) == rows:
        return carried if above is None else carried + above
    whole = carried.new_zeros(*carried.shape[:-2], rows, carried.size(-1)) if above is None else above.clone()
    whole[..., : carried.size(-2), :] += carried
    return whole

"""Back-propagation through time (BPTT) with a hand-derived backward pass: a whole sequence as one autograd node.

Autograd would record some twenty small operations for each step and run them backwards one by one. Here the forward
pass saves the activations that the gradients need, and the backward pass visits each step once, with one matrix
multiplication per step.

δv is the gradient of the loss with respect to v. a_t = gx_t + W h_{t-1} are the pre-activations of a step, gx the input
projection. For every cell

    δgx_t = δa_t,      δh_{t-1} receives δa_t W,      δW = Σ_t δa_tᵀ h_{t-1}

All steps share W, so the last sum is one matrix multiplication over the rows of all steps at the end. δh_t is the sum
of the gradient of the output at t and of the gradient from step t + 1. With σ' = σ (1 - σ) and tanh' = 1 - tanh², only
the map from δh_t to δa_t differs between cells: see `rnn`, `lstm`, `gru` and `sru` beside this module.

`RecurrentSequence` runs the `StepKernel` of a cell over a whole input; `s2s.nn.kernels.attention` runs one with
attention between the steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s.nn.kernels.function import Function
from s2s.nn.kernels.stepping import State, StepKernel


class RecurrentSequence(Function):
    """`RecurrentSequence.apply(kernel, compute dtype, batch_sizes, n, *gx, *initial state, *parameters)`.

    n tensors gx (N, G·H), packed by `batch_sizes`; with n > 1 the state and the parameters have an axis n in front.
    Returns each state, (…, N, H).
    """

    @staticmethod
    def forward(
        ctx: Any, kernel_class: type[StepKernel], compute: torch.dtype, batch_sizes: list[int], n: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        gx, tensors = tensors[:n], tensors[n:]
        ctx.kernel_class, ctx.batch_sizes, ctx.compute = kernel_class, batch_sizes, compute
        ctx.dtypes = [part.dtype for part in gx]
        ctx.set_materialize_grads(False)
        count = kernel_class.num_states
        initial, parameters = tensors[:count], tensors[count:]
        kernel = kernel_class(compute, *parameters)
        saved = kernel.begin_forward(copy_projections(gx, initial[0]), initial, batch_sizes)
        state = initial
        for t, rows in enumerate(batch_sizes):
            if rows < state[0].size(-2):
                state = tuple(s[..., :rows, :] for s in state)
            state = kernel.step(t, state)
        ctx.save_for_backward(*tensors, *saved)
        ctx.num_inputs = len(tensors)
        return saved[:count]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, saved = ctx.saved_tensors[: ctx.num_inputs], ctx.saved_tensors[ctx.num_inputs :]
        initial, parameters = inputs[: ctx.kernel_class.num_states], inputs[ctx.kernel_class.num_states :]
        kernel = ctx.kernel_class(ctx.compute, *parameters)
        kernel.begin_backward(initial, saved, ctx.batch_sizes)
        dstate: State = tuple(torch.zeros_like(s[..., : ctx.batch_sizes[-1], :]) for s in initial)
        doutputs = [None if g is None else g.split_with_sizes(ctx.batch_sizes, -2) for g in grads]
        for t in range(len(ctx.batch_sizes) - 1, -1, -1):
            at_step = [None if g is None else g[t] for g in doutputs]
            total = tuple(_sum(d, g, ctx.batch_sizes[t]) for d, g in zip(dstate, at_step, strict=True))
            dstate, _ = kernel.step_backward(t, total)
        dgx, dweight, _, *dbiases = kernel.gradients()
        parts = [dgx] if len(ctx.dtypes) == 1 else dgx.unbind(0)
        return (
            *(None, None, None, None),
            *(part.to(dtype) for part, dtype in zip(parts, ctx.dtypes, strict=True)),
            *dstate,
            *(d.to(p.dtype) for d, p in zip((dweight, *dbiases), parameters, strict=True)),
        )


def copy_projections(gx: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """A copy of one (N, G·H), or of several as (n, N, G·H), in the dtype of `like`."""
    if len(gx) == 1:
        return gx[0].to(like.dtype, copy=True)
    stacked = like.new_empty(len(gx), *gx[0].shape)
    for part, target in zip(gx, stacked, strict=True):
        target.copy_(part)
    return stacked


def _sum(dstate: Tensor, doutput: Tensor | None, rows: int) -> Tensor:
    """δ of a step's state: from the next step, which may have fewer rows, plus from the output."""
    if dstate.size(-2) == rows:
        return dstate if doutput is None else dstate + doutput
    whole = dstate.new_zeros(*dstate.shape[:-2], rows, dstate.size(-1)) if doutput is None else doutput.clone()
    whole[..., : dstate.size(-2), :] += dstate
    return whole

"""A decoder with Bahdanau attention as one node of the autograd graph: its back-propagation through time by hand.

The state of one step asks, the context enters the cell of the next (Bahdanau et al. 2015, appendix A):

    p_t = tanh(W s_{t-1} + U h_j)       (B, S, A); U h_j is computed once for each sentence
    e_t = v · p_t,  α_t = softmax(e_t),  c_t = Σ_j α_tj h_j
    s_t = cell(gx_t + C c_t, s_{t-1})   C: the columns of the cell's input weight that belong to the context

With δ for the gradient of the loss, δc_t what the readout sends plus δgx_t C, and the cell's own way back as in
`s2s.nn.kernels.bptt`:

    δα_tj = δc_t · h_j                  δh_j = Σ_t α_tj δc_t
    δe_t = α_t ⊙ (δα_t - Σ_j α_tj δα_tj)
    δ(W s_{t-1}) = Σ_j δe_tj v ⊙ (1 - p_tj²)        δ(U h_j) = Σ_t δe_tj v ⊙ (1 - p_tj²)
    δv = Σ_tj δe_tj p_tj,   δW = Σ_t δ(W s_{t-1})ᵀ s_{t-1},   δC = Σ_t δgx_tᵀ c_t,   δs_{t-1} receives δ(W s_{t-1}) W

The sums over t without a recursion (δh, δW, δC) are one product each after the walk.

T target steps, B sentences, S source positions, D memory width, A attention width, H hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s.nn.kernels.bptt import StepKernel, compute_type, weight_gradient


class AttentionSequence(torch.autograd.Function):
    """`AttentionSequence.apply(kernel, gx, values, projected, mask, W, v, C, *first state, *cell parameters)`.

    gx (T, B, G·H), values (B, S, D), projected (B, S, A), mask (B, S), W (A, H), v (1, A), C (G·H, D).

    Returns:
        contexts (T, B, D), and (T, B, H) of each state.
    """

    @staticmethod
    def forward(
        ctx: Any,
        kind: type[StepKernel],
        gx: Tensor,
        values: Tensor,
        projected: Tensor,
        mask: Tensor,
        w: Tensor,
        v: Tensor,
        c: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        compute = compute_type(gx)
        ctx.kind, ctx.compute = kind, compute
        ctx.set_materialize_grads(False)
        state = tensors[: kind.num_states]
        kernel = kind(compute, *tensors[kind.num_states :])
        kernel.begin(gx, state)
        steps, (batch, source, width) = len(gx), projected.shape
        memory, asking, looking, entering = values.to(compute), w.to(compute).T, v.to(compute).T, c.to(compute).T
        hidden = gx.new_zeros(batch, source).masked_fill_(~mask, -torch.inf)
        shapes = torch.empty(steps, batch, source, width, dtype=projected.dtype, device=gx.device)
        alphas = gx.new_empty(steps, batch, source)
        contexts = torch.empty(steps, batch, values.size(2), dtype=compute, device=gx.device)
        for t, part in enumerate(gx.unbind(0)):
            asked = (state[0].to(compute) @ asking).unsqueeze(1)
            shape = torch.add(projected, asked, out=shapes[t]).tanh_()
            scores = (shape.view(-1, width).to(compute) @ looking).view(batch, source)
            alpha = torch.softmax(scores + hidden, dim=1, out=alphas[t])
            torch.bmm(alpha.to(compute).unsqueeze(1), memory, out=contexts[t].unsqueeze(1))
            state = kernel.step(t, part + contexts[t] @ entering, state)
        saved = kernel.saved()
        ctx.save_for_backward(memory, shapes, alphas, contexts, w, v, c, *tensors, *saved)
        ctx.types = gx.dtype, values.dtype, projected.dtype
        ctx.given = len(tensors)
        return contexts.to(gx.dtype), *saved[: kind.num_states]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_context: Tensor | None, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        memory, shapes, alphas, contexts, w, v, c, *rest = ctx.saved_tensors
        count, compute = ctx.kind.num_states, ctx.compute
        tensors, saved = tuple(rest[: ctx.given]), tuple(rest[ctx.given :])
        first, parameters = tensors[:count], tensors[count:]
        kernel = ctx.kind(compute, *parameters)
        kernel.resume(first, saved)
        steps, batch, _, width = shapes.shape
        asking, entering, looking = w.to(compute), c.to(compute), v.squeeze(0)
        slopes = torch.empty_like(shapes)  # δe (1 - p²); v, the same for all, is multiplied in at the end
        dcontexts = torch.empty_like(contexts)
        dasked = alphas.new_empty(steps, batch, width)
        dv = torch.zeros_like(looking)
        carried = tuple(torch.zeros_like(s) for s in first)
        of_states = [None if g is None else g.unbind(0) for g in grads]
        for t in range(steps - 1, -1, -1):
            arrived = tuple(k if g is None else k + g[t] for k, g in zip(carried, of_states, strict=True))
            carried = kernel.back(t, arrived)
            through = kernel.input_gradient(t) @ entering
            dcontext = dcontexts[t]
            if of_context is None:
                dcontext.copy_(through)
            else:
                torch.add(of_context[t], through, out=dcontext)
            dalpha = torch.bmm(memory, dcontext.unsqueeze(2)).squeeze(2)
            weighed = alphas[t] * dalpha
            de = torch.addcmul(weighed, alphas[t], weighed.sum(1, keepdim=True), value=-1).to(shapes.dtype)
            dv += de.view(1, -1).mm(shapes[t].view(-1, width)).squeeze(0)
            lifted = de.unsqueeze(2)
            slope = torch.addcmul(lifted, shapes[t] * lifted, shapes[t], value=-1, out=slopes[t])
            torch.mul(slope.sum(1), looking, out=dasked[t])
            carried = (carried[0] + dasked[t].to(compute) @ asking, *carried[1:])
        dgx, *others = kernel.gradients()
        of_gx, of_values, of_projected = ctx.types
        before = torch.cat([first[0].unsqueeze(0), saved[0][:-1]])
        dvalues = torch.bmm(alphas.to(compute).permute(1, 2, 0), dcontexts.transpose(0, 1))
        return (
            None,
            dgx.to(of_gx),
            dvalues.to(of_values),
            (slopes.sum(0, dtype=of_gx) * looking).to(of_projected),
            None,
            weight_gradient(dasked.to(compute), before).to(w.dtype),
            dv.unsqueeze(0).to(v.dtype),
            weight_gradient(dgx.to(compute), contexts).to(c.dtype),
            *carried,
            *(d.to(p.dtype) for d, p in zip(others, parameters, strict=True)),
        )

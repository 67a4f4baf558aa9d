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

The sums over t without a recursion (δh, δW, δC, δv) are one product each after the walk. p is kept as
q = σ(2 (W s + U h)) = (p + 1) / 2, because torch's σ is ten times as fast as its tanh on CPUs. Then
1 - p² = 4 q (1 - q); and as a softmax does not see a constant and its δe sum to nothing, e = 2 v · q and δv = 2 Σ δe q.

T target steps, B sentences, S source positions, D memory width, A attention width, H hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s.nn.kernels.bptt import laid_out
from s2s.nn.kernels.stepping import StepKernel, compute_type, weight_gradient


class AttentionSequence(torch.autograd.Function):
    """`AttentionSequence.apply(kernel, gx, values, projected, mask, W, v, C, *first state, *cell parameters)`.

    gx (T·B, G·H), values (B, S, D), projected (B, S, A), mask (B, S), W (A, H), v (1, A), C (G·H, D).

    Returns:
        contexts (T·B, D), and (T·B, H) of each state.
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
        compute = compute_type(tensors[0])
        ctx.kind, ctx.compute = kind, compute
        ctx.set_materialize_grads(False)
        state = tensors[: kind.num_states]
        kernel = kind(compute, *tensors[kind.num_states :])
        ctx.types = gx.dtype, values.dtype, projected.dtype
        gx = laid_out((gx,), state[0])
        batch, source, width = projected.shape
        steps = len(gx) // batch
        kernel.begin(gx, state, [batch] * steps)
        memory, asking, entering = values.to(compute), 2 * w.to(compute).T, c.to(compute).T
        doubled, looking = 2 * projected.to(gx.dtype), 2 * v.squeeze(0).to(gx.dtype)
        padding = gx.new_zeros(batch, source).masked_fill_(~mask, -torch.inf)
        qs = gx.new_empty(steps, batch, source, width)
        alphas = gx.new_empty(steps, batch, source)
        contexts = torch.empty(steps, batch, values.size(2), dtype=compute, device=gx.device)
        for t, (q, alpha, context) in enumerate(zip(qs, alphas, contexts, strict=True)):
            asked = (state[0].to(compute) @ asking).unsqueeze(1)
            torch.add(doubled, asked, out=q).sigmoid_()
            scores = q.view(-1, width).mv(looking).view(batch, source)
            torch.softmax(scores.add_(padding), dim=1, out=alpha)
            torch.bmm(alpha.to(compute).unsqueeze(1), memory, out=context.unsqueeze(1))
            state = kernel.step(t, state, context @ entering)
        saved = kernel.saved()
        ctx.save_for_backward(memory, qs, alphas, contexts, w, v, c, *tensors, *saved)
        ctx.given = len(tensors)
        return contexts.to(gx.dtype).flatten(0, 1), *saved[: kind.num_states]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_context: Tensor | None, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        memory, qs, alphas, contexts, w, v, c, *rest = ctx.saved_tensors
        count, compute = ctx.kind.num_states, ctx.compute
        tensors, saved = tuple(rest[: ctx.given]), tuple(rest[ctx.given :])
        first, parameters = tensors[:count], tensors[count:]
        kernel = ctx.kind(compute, *parameters)
        steps, batch, _, width = qs.shape
        kernel.resume(first, saved, [batch] * steps)
        asking, entering = w.to(compute), c.to(compute)
        slope, dprojected = torch.empty_like(qs[0]), torch.zeros_like(qs[0])
        factor = 4 * v.squeeze(0).to(qs.dtype)
        dcontexts = torch.empty_like(contexts)
        dasked = qs.new_empty(steps, batch, width)
        des = torch.empty_like(alphas)
        carried = tuple(torch.zeros_like(s) for s in first)
        of_states = [None if g is None else g.view(steps, batch, -1).unbind(0) for g in grads]
        for t in range(steps - 1, -1, -1):
            arrived = tuple(k if g is None else k + g[t] for k, g in zip(carried, of_states, strict=True))
            carried = kernel.back(t, arrived)
            q, alpha, de, dcontext = qs[t], alphas[t], des[t], dcontexts[t]
            through = kernel.input_gradient(t) @ entering
            if of_context is None:
                dcontext.copy_(through)
            else:
                torch.add(of_context[t * batch : (t + 1) * batch], through, out=dcontext)
            dalpha = torch.bmm(dcontext.unsqueeze(1), memory.mT).squeeze(1)
            weighed = alpha * dalpha
            torch.addcmul(weighed, alpha, weighed.sum(1, keepdim=True), value=-1, out=de)
            torch.addcmul(q, q, q, value=-1, out=slope)
            dprojected.addcmul_(de.unsqueeze(2), slope)
            torch.mul(torch.bmm(de.unsqueeze(1), slope).squeeze(1), factor, out=dasked[t])
            carried = (carried[0] + dasked[t].to(compute) @ asking, *carried[1:])
        dgx, *others = kernel.gradients()
        of_gx, of_values, of_projected = ctx.types
        before = torch.cat([first[0], saved[0][:-batch]])
        dvalues = torch.bmm(alphas.to(compute).permute(1, 2, 0), dcontexts.transpose(0, 1))
        return (
            None,
            dgx.to(of_gx),
            dvalues.to(of_values),
            dprojected.mul_(factor).to(of_projected),
            None,
            weight_gradient(dasked.to(compute).flatten(0, 1), before).to(w.dtype),
            (2 * des.view(1, -1) @ qs.view(-1, width)).to(v.dtype),
            weight_gradient(dgx, contexts.flatten(0, 1)).to(c.dtype),
            *carried,
            *(d.to(p.dtype) for d, p in zip(others, parameters, strict=True)),
        )

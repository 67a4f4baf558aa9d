"""A decoder with Bahdanau attention as one node of the autograd graph: its back-propagation through time by hand.

With U h_j computed once for each sentence, attention for a query s is

    p = tanh(W s + U h_j)       (B, S, A)
    e = v · p,  α = softmax(e),  c = Σ_j α_j h_j

and a step is, in the three ways in which attention has to see each state before the next one,

    previous (Bahdanau et al. 2015):      c_t of s_{t-1};  s_t = cell(gx_t + C c_t, s_{t-1})
    the same with input feeding:          c_t of s_{t-1};  s_t = cell(gx_t + C [c_t; a_{t-1}], s_{t-1}),  a_t
    current with input feeding (Luong):   s_t = cell(gx_t + C a_{t-1}, s_{t-1});  c_t of s_t,  a_t
    a_t = tanh(W_a [s_t; c_t] + b_a)

C holds the columns of the cell's input weight that come after the embedding's. With δ for the gradient of the loss,
δc_t what arrives at the context, and the cell's own way back as in `s2s.nn.kernels.bptt`:

    δα_j = δc · h_j                     δh_j = Σ_t α_tj δc_t
    δe = α ⊙ (δα - Σ_j α_j δα_j)
    δ(W s) = Σ_j δe_j v ⊙ (1 - p_j²)    δ(U h_j) = Σ_t δe_tj v ⊙ (1 - p_tj²)
    δv = Σ_tj δe_tj p_tj,   δW = Σ_t δ(W s)ᵀ s,   δs receives δ(W s) W
    with input feeding, y = δa_t ⊙ (1 - a_t²):   [δs_t; δc_t] receives y W_a,   δW_a = Σ_t yᵀ [s_t; c_t],   δb_a = Σ_t y

Where nothing has to see a state before the next one (the current state asks, and nothing is fed back), all queries are
there at once: the same with one product for all W s, in `AttentionOverTime`.

The sums over t without a recursion (δh, δW, δW_a, δC, δv) are one product each after the walk. p is kept as
q = σ(2 (W s + U h)) = (p + 1) / 2, because torch's σ is ten times as fast as its tanh on CPUs. Then
1 - p² = 4 q (1 - q); and as a softmax does not see a constant and its δe sum to nothing, e = 2 v · q and δv = 2 Σ δe q.
As q of all steps is most of what the way back needs, it is kept in the type of products.

T target steps, B sentences, S source positions, D memory width, A attention width, H hidden.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s.nn.kernels.bptt import laid_out
from s2s.nn.kernels.function import Function
from s2s.nn.kernels.stepping import StepKernel, tanh_, weight_gradient

Query = Literal["previous", "current"]


class Wiring(NamedTuple):
    """What a step is made of."""

    kernel: type[StepKernel]
    query: Query
    input_feeding: bool
    compute: torch.dtype  # of matrix multiplications


class _Attending:
    """Attention's part of the steps, forward and back.

    Args:
        memory: (B, S, D) in the type of products.
        w: (A, H); v: (1, A).
        kept: what `saved` returned, on the way back.
        like: of the type of states.
    """

    def __init__(self, memory: Tensor, w: Tensor, v: Tensor, like: Tensor, kept: tuple[Tensor, ...] = ()) -> None:
        self.memory, self.compute = memory, memory.dtype
        self.w, self.v = w.to(self.compute), v.squeeze(0).to(like.dtype)
        self.kept = kept

    def begin(self, projected: Tensor, mask: Tensor, steps: int) -> None:
        batch, source, width = projected.shape
        self.doubled, self.asking, self.looking = 2 * projected.to(self.v.dtype), 2 * self.w.T, 2 * self.v
        self.padding = self.v.new_zeros(batch, source).masked_fill_(~mask, -torch.inf)
        self.qs = self.memory.new_empty(steps, batch, source, width)
        self.q = self.v.new_empty(batch, source, width)
        self.alphas = self.v.new_empty(steps, batch, source)

    def ask(self, queries: Tensor) -> Tensor:
        """(…, H) in the type of products -> what `attend` takes, (…, A)."""
        return queries @ self.asking

    def attend(self, t: int, asked: Tensor) -> Tensor:
        """(B, A) -> the context, (B, D) in the type of products."""
        alpha = self.alphas[t]
        q = torch.add(self.doubled, asked.unsqueeze(1), out=self.q).sigmoid_()
        self.qs[t].copy_(q)
        scores = q.view(-1, q.size(2)).mv(self.looking).view(alpha.shape)
        torch.softmax(scores.add_(self.padding), dim=1, out=alpha)
        return torch.bmm(alpha.to(self.compute).unsqueeze(1), self.memory).squeeze(1)

    def saved(self) -> tuple[Tensor, ...]:
        return self.qs, self.alphas

    def resume(self) -> None:
        self.qs, self.alphas = self.kept
        self.q, self.slope, self.dprojected = (self.v.new_zeros(self.qs.shape[1:]) for _ in range(3))
        self.dasked = self.memory.new_empty(*self.qs.shape[:2], self.qs.size(3))
        self.des = torch.empty_like(self.alphas)
        self.dcontexts = self.memory.new_empty(*self.qs.shape[:2], self.memory.size(2))
        self.factor = 4 * self.v

    def back(self, t: int, dcontext: Tensor) -> Tensor:
        """δc (B, D) -> δ(W s) (B, A), in the type of products."""
        q, alpha, de, dasked = self.q.copy_(self.qs[t]), self.alphas[t], self.des[t], self.dasked[t]
        dcontext = self.dcontexts[t].copy_(dcontext)
        dalpha = torch.bmm(self.memory, dcontext.unsqueeze(2)).squeeze(2)
        weighed = alpha * dalpha
        torch.addcmul(weighed, alpha, weighed.sum(1, keepdim=True), value=-1, out=de)
        torch.addcmul(q, q, q, value=-1, out=self.slope)
        self.dprojected.addcmul_(de.unsqueeze(2), self.slope)
        return dasked.copy_(torch.bmm(de.unsqueeze(1), self.slope).squeeze(1).mul_(self.factor))

    def gradients(self, queries: Tensor) -> tuple[Tensor, ...]:
        """δ of values, projected, w and v, given all queries (T·B, H)."""
        return (
            torch.bmm(self.alphas.to(self.compute).permute(1, 2, 0), self.dcontexts.transpose(0, 1)),
            self.dprojected.mul_(self.factor),
            weight_gradient(self.dasked.flatten(0, 1), queries),
            2 * self.des.to(self.compute).view(1, -1) @ self.qs.view(-1, self.qs.size(3)),
        )


class AttentionSequence(Function):
    """`AttentionSequence.apply(wiring, gx, values, projected, mask, W, v, C, W_a, b_a, *first state, *parameters)`.

    gx (T·B, G·H), values (B, S, D), projected (B, S, A), mask (B, S), W (A, H), v (1, A), C (G·H, D), (G·H, D + H) or
    (G·H, H); W_a (H, H + D) and b_a (H), None without input feeding. The first state is s_0, with input feeding
    [s_0; a_0], then the cell's other states; the parameters are those of its kernel.

    Returns:
        (T·B, D) of the contexts or (T·B, H) of the a_t, and (T·B, H) of each state.
    """

    @staticmethod
    def forward(
        ctx: Any,
        wiring: Wiring,
        gx: Tensor,
        values: Tensor,
        projected: Tensor,
        mask: Tensor,
        w: Tensor,
        v: Tensor,
        c: Tensor,
        w_a: Tensor | None,
        b_a: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        compute, count = wiring.compute, wiring.kernel.num_states
        ctx.wiring = wiring
        ctx.types = gx.dtype, values.dtype, projected.dtype
        ctx.set_materialize_grads(False)
        batch, hidden, width = len(projected), w.size(1), values.size(2)
        steps, before = len(gx) // batch, wiring.query == "previous"
        state: tuple[Tensor, ...] = (tensors[0][:, :hidden], *tensors[1:count])
        kernel = wiring.kernel(compute, *tensors[count:], entering=c)
        kernel.begin(laid_out((gx,), state[0]), state, [batch] * steps)
        memory = values.to(compute)
        attending = _Attending(memory, w, v, state[0])
        attending.begin(projected, mask, steps)
        # [s_t; c_t] of each step; s_t is multiplied by W where it asks, and both by W_a.
        both = memory.new_empty(steps, batch, hidden + width)
        fed = tensors[0][:, hidden:]
        feeding = fed.new_empty(steps, batch, fed.size(1))
        mixing = None if w_a is None else w_a.to(compute).T
        for t in range(steps):
            extra, s, context = kernel.extra(t), both[t, :, :hidden], both[t, :, hidden:]
            if before:
                context.copy_(attending.attend(t, attending.ask(state[0].to(compute))))
                extra[:, :width] = context
            if mixing is not None:
                extra[:, extra.size(1) - fed.size(1) :] = fed
            state = kernel.step(t, state)
            s.copy_(state[0])
            if not before:
                context.copy_(attending.attend(t, attending.ask(s)))
            if mixing is not None and b_a is not None:
                fed = tanh_(torch.add(both[t] @ mixing, b_a, out=feeding[t]))
        saved = kernel.saved()
        ctx.counts = len(tensors), len(saved)
        ctx.save_for_backward(memory, w, v, c, w_a, b_a, both, feeding, *tensors, *saved, *attending.saved())
        outputs = both[..., hidden:].to(gx.dtype) if mixing is None else feeding
        return outputs.flatten(0, 1), *saved[:count]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_output: Tensor | None, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        memory, w, v, c, w_a, b_a, both, feeding, *rest = ctx.saved_tensors
        given, kept = ctx.counts
        tensors, saved, seen = rest[:given], rest[given : given + kept], rest[given + kept :]
        compute, count, before = ctx.wiring.compute, ctx.wiring.kernel.num_states, ctx.wiring.query == "previous"
        steps, batch = both.shape[:2]
        hidden, width = w.size(1), memory.size(2)
        first = (tensors[0][:, :hidden], *tensors[1:count])
        kernel = ctx.wiring.kernel(compute, *tensors[count:], entering=c)
        kernel.resume(first, tuple(saved), [batch] * steps)
        attending = _Attending(memory, w, v, first[0], tuple(seen))
        attending.resume()
        mixing = None if w_a is None else w_a.to(compute)
        dmixed = memory.new_empty(feeding.shape)
        room = torch.empty_like(tensors[0][:, hidden:])
        carried = tuple(torch.zeros_like(s) for s in first)
        fed = torch.zeros_like(room)
        above = [None if g is None else g.view(steps, batch, -1).unbind(0) for g in (of_output, *grads)]
        for t in range(steps - 1, -1, -1):
            of_states = [k if g is None else k + g[t] for k, g in zip(carried, above[1:], strict=True)]
            dcontext = None if above[0] is None else above[0][t]
            if mixing is not None:
                da = fed if dcontext is None else fed + dcontext
                a = feeding[t]
                torch.addcmul(da, da, torch.mul(a, a, out=room), value=-1, out=room)
                dboth = dmixed[t].copy_(room) @ mixing
                of_states[0] = of_states[0] + dboth[:, :hidden]
                dcontext = dboth[:, hidden:]
            if not before:
                assert dcontext is not None
                of_states[0] = of_states[0] + attending.back(t, dcontext) @ attending.w
            carried, extra = kernel.back(t, tuple(of_states))
            if before:
                of_extra = extra[:, :width]
                dcontext = of_extra if dcontext is None else of_extra + dcontext
                carried = (carried[0] + attending.back(t, dcontext) @ attending.w, *carried[1:])
            if mixing is not None:
                fed = extra[:, extra.size(1) - hidden :]
        dgx, of_weight, of_entering, *of_biases = kernel.gradients()
        s = both[..., :hidden]
        queries = torch.cat([first[0].to(compute).unsqueeze(0), s[:-1]]) if before else s
        dvalues, dprojected, dw, dv = attending.gradients(queries.flatten(0, 1))
        of_gx, of_values, of_projected = ctx.types
        flat = dmixed.flatten(0, 1)
        return (
            *(None, dgx.to(of_gx), dvalues.to(of_values), dprojected.to(of_projected), None),
            *(dw.to(w.dtype), dv.to(v.dtype), of_entering.to(c.dtype)),
            None if w_a is None else weight_gradient(flat, both.flatten(0, 1)).to(w_a.dtype),
            None if b_a is None else flat.sum(0, dtype=feeding.dtype).to(b_a.dtype),
            *(torch.cat([carried[0], fed], dim=1), *carried[1:]),
            *(d.to(p.dtype) for d, p in zip((of_weight, *of_biases), tensors[count:], strict=True)),
        )


class AttentionOverTime(Function):
    """`AttentionOverTime.apply(compute dtype, queries, values, projected, mask, W, v)`: contexts of known queries.

    queries (B, T, H), values (B, S, D), projected (B, S, A), mask (B, S), W (A, H), v (1, A).

    One step at a time, so that the (B, S, A) numbers of a step stay in the cache; of all steps, only q is kept.

    Returns:
        (B, T, D) contexts, in the type of products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        compute: torch.dtype,
        queries: Tensor,
        values: Tensor,
        projected: Tensor,
        mask: Tensor,
        w: Tensor,
        v: Tensor,
    ) -> Tensor:
        ctx.types = queries.dtype, values.dtype, projected.dtype
        memory, rows = values.to(compute), queries.transpose(0, 1).to(compute).contiguous()
        attending = _Attending(memory, w, v, v)
        attending.begin(projected, mask, len(rows))
        contexts = memory.new_empty(*queries.shape[:2], memory.size(2))
        for t, asked in enumerate(attending.ask(rows).unbind(0)):
            contexts[:, t] = attending.attend(t, asked)
        ctx.save_for_backward(memory, rows, w, v, *attending.saved())
        return contexts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        memory, rows, w, v, *seen = ctx.saved_tensors
        attending = _Attending(memory, w, v, v, tuple(seen))
        attending.resume()
        for t, dcontext in enumerate(grad.unbind(1)):
            attending.back(t, dcontext)
        dvalues, dprojected, dw, dv = attending.gradients(rows.flatten(0, 1))
        of_queries, of_values, of_projected = ctx.types
        return (
            None,
            *((attending.dasked @ attending.w).transpose(0, 1).to(of_queries), dvalues.to(of_values)),
            *(dprojected.to(of_projected), None, dw.to(w.dtype), dv.to(v.dtype)),
        )

"""Kernels of decoders with Bahdanau attention: hand-derived backward passes, each one node of the autograd graph.

With the keys U h_j computed once for each sentence, attention of a query s is

    p = tanh(W s + U h_j)       (B, S, A)
    e = v · p,  α = softmax(e),  c = Σ_j α_j h_j

Where attention needs each state before the next one, a step takes one of three forms (`AttentionSequence`):

    previous (Bahdanau et al. 2015):      c_t of s_{t-1};  s_t = cell(gx_t + C c_t, s_{t-1})
    the same with input feeding:          c_t of s_{t-1};  s_t = cell(gx_t + C [c_t; a_{t-1}], s_{t-1}),  a_t
    current with input feeding (Luong):   s_t = cell(gx_t + C a_{t-1}, s_{t-1});  c_t of s_t,  a_t
    a_t = tanh(W_a [s_t; c_t] + b_a)

C holds the columns of the cell's input weight for the context inputs, which follow the embedding. With δ for the
gradient of the loss, δc_t for that of the context, and the cell's own backward step as in `s2s.nn.kernels.bptt`:

    δα_j = δc · h_j                     δh_j = Σ_t α_tj δc_t
    δe = α ⊙ (δα - Σ_j α_j δα_j)
    δ(W s) = Σ_j δe_j v ⊙ (1 - p_j²)    δ(U h_j) = Σ_t δe_tj v ⊙ (1 - p_tj²)
    δv = Σ_tj δe_tj p_tj,   δW = Σ_t δ(W s)ᵀ s,   δs receives δ(W s) W
    with input feeding, y = δa_t ⊙ (1 - a_t²):   [δs_t; δc_t] receives y W_a,   δW_a = Σ_t yᵀ [s_t; c_t],   δb_a = Σ_t y

If the current state is the query and nothing is fed back, all queries are known at once. `AttentionOverTime` then
computes all W s in one matrix multiplication.

The sums over t without a recursion (δh, δW, δW_a, δC, δv) are one matrix multiplication each at the end. p is stored as
q = σ(2 (W s + U h)) = (p + 1) / 2, because torch's σ is ten times as fast as its tanh on CPUs. Then
1 - p² = 4 q (1 - q). Softmax ignores a constant and the δe of a row sum to 0, so e = 2 v · q and δv = 2 Σ δe q. q of
all steps is most of the memory of the backward pass, so it is saved in the compute dtype (`StoredScores`); on a GPU it
is computed a second time instead (`s2s.nn.kernels.triton_scores`).

T target steps, B sentences, S source positions, D memory width, A attention width, H hidden.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s.nn.kernels.bptt import copy_projections
from s2s.nn.kernels.function import Function
from s2s.nn.kernels.stepping import StepKernel, tanh_, weight_gradient
from s2s.nn.kernels.triton_modules import triton_module

Query = Literal["previous", "current"]


class StepForm(NamedTuple):
    """The form of a decoder step."""

    kernel: type[StepKernel]
    query: Query
    compute: torch.dtype  # of matrix multiplications


class Scores(Protocol):
    """Scores e = 2 v · q of attention, step by step, and their gradients."""

    def begin_forward(self, keys: Tensor, steps: int) -> tuple[Tensor, ...]:
        """(B, S, A) keys -> the tensors to save for the backward pass."""

    def forward(self, t: int, query: Tensor) -> Tensor:
        """(B, A) 2 W s -> (B, S) scores."""

    def begin_backward(self, *saved: Tensor) -> None:
        """Takes what `begin_forward` of another instance returned."""

    def backward(self, t: int, de: Tensor, out: Tensor) -> Tensor:
        """(B, S) δe -> (B, A) δ(W s), in `out`."""

    def gradients(self, des: Tensor) -> tuple[Tensor, Tensor]:
        """(T, B, S) δe -> δ of keys (B, S, A) and v (1, A)."""


class StoredScores:
    """`Scores` with torch's functions; q of all steps is stored.

    Args:
        v: (A,), in the states' dtype.
        compute: of matrix multiplications and of what is stored.
    """

    def __init__(self, v: Tensor, compute: torch.dtype) -> None:
        self.v, self.compute = v, compute

    def begin_forward(self, keys: Tensor, steps: int) -> tuple[Tensor, ...]:
        self.twice_keys, self.twice_v = 2 * keys.to(self.v.dtype), 2 * self.v
        self.qs = keys.new_empty(steps, *keys.shape, dtype=self.compute)
        self.q = self.v.new_empty(keys.shape)
        return (self.qs,)

    def forward(self, t: int, query: Tensor) -> Tensor:
        q = torch.add(self.twice_keys, query.unsqueeze(1), out=self.q).sigmoid_()
        self.qs[t].copy_(q)
        return q.view(-1, q.size(2)).mv(self.twice_v).view(q.shape[:2])

    def begin_backward(self, *saved: Tensor) -> None:
        (self.qs,) = saved
        self.q, self.grad_q, self.dkeys = (self.v.new_zeros(self.qs.shape[1:]) for _ in range(3))
        self.factor = 4 * self.v

    def backward(self, t: int, de: Tensor, out: Tensor) -> Tensor:
        q = self.q.copy_(self.qs[t])
        torch.addcmul(q, q, q, value=-1, out=self.grad_q)  # σ' = q (1 - q)
        self.dkeys.addcmul_(de.unsqueeze(2), self.grad_q)
        return out.copy_(torch.bmm(de.unsqueeze(1), self.grad_q).squeeze(1).mul_(self.factor))

    def gradients(self, des: Tensor) -> tuple[Tensor, Tensor]:
        dv = 2 * des.to(self.compute).view(1, -1) @ self.qs.view(-1, self.qs.size(3))
        return self.dkeys.mul_(self.factor), dv


class _AttentionSteps:
    """Forward and backward steps of attention, with the buffers for a whole sequence.

    Args:
        memory: (B, S, D) in the compute dtype.
        w: (A, H); v: (1, A).
        like: a tensor of the states' dtype.
    """

    def __init__(self, memory: Tensor, w: Tensor, v: Tensor, like: Tensor) -> None:
        self.memory, self.compute, self.like = memory, memory.dtype, like
        self.w = w.to(self.compute)
        self.scores = scores_of(v.squeeze(0).to(like.dtype), self.compute)

    def begin_forward(self, keys: Tensor, mask: Tensor, steps: int) -> tuple[Tensor, ...]:
        """The tensors to save for the backward pass: α of all steps, and those of the scores."""
        batch, source, _ = keys.shape
        self.twice_w = 2 * self.w.T
        self.bias = self.like.new_zeros(batch, source).masked_fill_(~mask, -torch.inf)
        self.alphas = self.like.new_empty(steps, batch, source)
        return self.alphas, *self.scores.begin_forward(keys, steps)

    def project_query(self, queries: Tensor) -> Tensor:
        """(…, H) in the compute dtype -> 2 W s, (…, A)."""
        return queries @ self.twice_w

    def attend(self, t: int, query: Tensor) -> Tensor:
        """The projected query (B, A) -> the context, (B, D) in the compute dtype."""
        alpha = self.alphas[t]
        torch.softmax(self.scores.forward(t, query).add_(self.bias), dim=1, out=alpha)
        return torch.bmm(alpha.to(self.compute).unsqueeze(1), self.memory).squeeze(1)

    def begin_backward(self, alphas: Tensor, *saved: Tensor) -> None:
        self.alphas = alphas
        self.scores.begin_backward(*saved)
        self.dqueries = self.memory.new_empty(*alphas.shape[:2], self.w.size(0))
        self.des = torch.empty_like(alphas)
        self.dcontexts = self.memory.new_empty(*alphas.shape[:2], self.memory.size(2))

    def step_backward(self, t: int, dcontext: Tensor) -> Tensor:
        """δc (B, D) -> δ(W s) (B, A), in the compute dtype."""
        alpha, de = self.alphas[t], self.des[t]
        dcontext = self.dcontexts[t].copy_(dcontext)
        dalpha = torch.bmm(self.memory, dcontext.unsqueeze(2)).squeeze(2)
        product = alpha * dalpha
        torch.addcmul(product, alpha, product.sum(1, keepdim=True), value=-1, out=de)
        return self.scores.backward(t, de, out=self.dqueries[t])

    def gradients(self, queries: Tensor) -> tuple[Tensor, ...]:
        """δ of values, keys, w and v, from all queries (T·B, H)."""
        dkeys, dv = self.scores.gradients(self.des)
        return (
            torch.bmm(self.alphas.to(self.compute).permute(1, 2, 0), self.dcontexts.transpose(0, 1)),
            dkeys,
            weight_gradient(self.dqueries.flatten(0, 1), queries),
            dv,
        )


def scores_of(v: Tensor, compute: torch.dtype) -> Scores:
    """Scores of attention for this v (A,)."""
    module = triton_module("triton_scores", v)
    return StoredScores(v, compute) if module is None else module.FusedScores(v, compute)


class AttentionSequence(Function):
    """`AttentionSequence.apply(form, gx, values, keys, mask, W, v, C, W_a, b_a, *initial state, *parameters)`.

    gx (T·B, G·H), values (B, S, D), keys (B, S, A), mask (B, S), W (A, H), v (1, A), C (G·H, D), (G·H, D + H) or
    (G·H, H); W_a (H, H + D) and b_a (H), None without input feeding. The initial state is s_0, with input feeding
    [s_0; a_0], then the cell's other states; the parameters are those of its kernel.

    Returns:
        (T·B, D) of the contexts or (T·B, H) of the a_t, and (T·B, H) of each state.
    """

    @staticmethod
    def forward(
        ctx: Any,
        form: StepForm,
        gx: Tensor,
        values: Tensor,
        keys: Tensor,
        mask: Tensor,
        w: Tensor,
        v: Tensor,
        c: Tensor,
        w_a: Tensor | None,
        b_a: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        compute, count = form.compute, form.kernel.num_states
        ctx.form, ctx.dtypes = form, (gx.dtype, values.dtype, keys.dtype)
        ctx.set_materialize_grads(False)
        batch, hidden, width = len(keys), w.size(1), values.size(2)
        steps, previous = len(gx) // batch, form.query == "previous"
        state: tuple[Tensor, ...] = (tensors[0][:, :hidden], *tensors[1:count])
        kernel = form.kernel(compute, *tensors[count:], w_context=c)
        saved = kernel.begin_forward(copy_projections((gx,), state[0]), state, [batch] * steps)
        memory = values.to(compute)
        attention = _AttentionSteps(memory, w, v, state[0])
        attention_saved = attention.begin_forward(keys, mask, steps)
        # [s_t; c_t] of each step: W multiplies s_t where it is the query, W_a both.
        outputs = memory.new_empty(steps, batch, hidden + width)
        a = tensors[0][:, hidden:]
        attentional = a.new_empty(steps, batch, a.size(1))
        w_a_t = None if w_a is None else w_a.to(compute).T
        for t in range(steps):
            inputs, s, context = kernel.context_inputs(t), outputs[t, :, :hidden], outputs[t, :, hidden:]
            if previous:
                context.copy_(attention.attend(t, attention.project_query(state[0].to(compute))))
                inputs[:, :width] = context
            if w_a_t is not None:
                inputs[:, inputs.size(1) - a.size(1) :] = a
            state = kernel.step(t, state)
            s.copy_(state[0])
            if not previous:
                context.copy_(attention.attend(t, attention.project_query(s)))
            if w_a_t is not None and b_a is not None:
                a = tanh_(torch.add(outputs[t] @ w_a_t, b_a, out=attentional[t]))
        ctx.counts = len(tensors), len(saved)
        ctx.save_for_backward(
            *(memory, w, v, c, w_a, b_a, outputs, attentional),
            *(*tensors, *saved, *attention_saved),
        )
        second = outputs[..., hidden:].to(gx.dtype) if w_a is None else attentional
        return second.flatten(0, 1), *saved[:count]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        memory, w, v, c, w_a, b_a, outputs, attentional, *rest = ctx.saved_tensors
        num_inputs, num_saved = ctx.counts
        tensors, saved = rest[:num_inputs], tuple(rest[num_inputs : num_inputs + num_saved])
        compute, count, previous = ctx.form.compute, ctx.form.kernel.num_states, ctx.form.query == "previous"
        steps, batch = outputs.shape[:2]
        hidden, width = w.size(1), memory.size(2)
        initial = (tensors[0][:, :hidden], *tensors[1:count])
        kernel = ctx.form.kernel(compute, *tensors[count:], w_context=c)
        kernel.begin_backward(initial, saved, [batch] * steps)
        attention = _AttentionSteps(memory, w, v, initial[0])
        attention.begin_backward(*rest[num_inputs + num_saved :])
        w_a_compute = None if w_a is None else w_a.to(compute)
        dys = memory.new_empty(attentional.shape)
        buffer = torch.empty_like(tensors[0][:, hidden:])
        dstate = tuple(torch.zeros_like(s) for s in initial)
        da_next = torch.zeros_like(buffer)
        dsecond, *dstates = (None if g is None else g.view(steps, batch, -1).unbind(0) for g in grads)
        for t in range(steps - 1, -1, -1):
            dnew = [d if g is None else d + g[t] for d, g in zip(dstate, dstates, strict=True)]
            dcontext = None if dsecond is None else dsecond[t]
            if w_a_compute is not None:
                da = da_next if dcontext is None else da_next + dcontext
                a = attentional[t]
                torch.addcmul(da, da, torch.mul(a, a, out=buffer), value=-1, out=buffer)
                doutput = dys[t].copy_(buffer) @ w_a_compute
                dnew[0] = dnew[0] + doutput[:, :hidden]
                dcontext = doutput[:, hidden:]
            if not previous:
                assert dcontext is not None
                dnew[0] = dnew[0] + attention.step_backward(t, dcontext) @ attention.w
            dstate, dinputs = kernel.step_backward(t, tuple(dnew))
            if previous:
                dcontext = dinputs[:, :width] if dcontext is None else dinputs[:, :width] + dcontext
                dstate = (dstate[0] + attention.step_backward(t, dcontext) @ attention.w, *dstate[1:])
            if w_a is not None:
                da_next = dinputs[:, dinputs.size(1) - hidden :]
        dgx, dweight, dc, *dbiases = kernel.gradients()
        s = outputs[..., :hidden]
        queries = torch.cat([initial[0].to(compute).unsqueeze(0), s[:-1]]) if previous else s
        dvalues, dkeys, dw, dv = attention.gradients(queries.flatten(0, 1))
        gx_dtype, values_dtype, keys_dtype = ctx.dtypes
        flat = dys.flatten(0, 1)
        return (
            *(None, dgx.to(gx_dtype), dvalues.to(values_dtype), dkeys.to(keys_dtype), None),
            *(dw.to(w.dtype), dv.to(v.dtype), dc.to(c.dtype)),
            None if w_a is None else weight_gradient(flat, outputs.flatten(0, 1)).to(w_a.dtype),
            None if b_a is None else flat.sum(0, dtype=attentional.dtype).to(b_a.dtype),
            *(torch.cat([dstate[0], da_next], dim=1), *dstate[1:]),
            *(d.to(p.dtype) for d, p in zip((dweight, *dbiases), tensors[count:], strict=True)),
        )


class AttentionOverTime(Function):
    """`AttentionOverTime.apply(compute dtype, queries, values, keys, mask, W, v)`: contexts of queries known at once.

    queries (B, T, H), values (B, S, D), keys (B, S, A), mask (B, S), W (A, H), v (1, A).

    It runs step by step, so that the (B, S, A) numbers of a step stay in the cache.

    Returns:
        (B, T, D) contexts, in the compute dtype.
    """

    @staticmethod
    def forward(
        ctx: Any,
        compute: torch.dtype,
        queries: Tensor,
        values: Tensor,
        keys: Tensor,
        mask: Tensor,
        w: Tensor,
        v: Tensor,
    ) -> Tensor:
        ctx.dtypes = queries.dtype, values.dtype, keys.dtype
        memory, by_step = values.to(compute), queries.transpose(0, 1).to(compute).contiguous()
        attention = _AttentionSteps(memory, w, v, v)
        saved = attention.begin_forward(keys, mask, len(by_step))
        contexts = memory.new_empty(*queries.shape[:2], memory.size(2))
        for t, query in enumerate(attention.project_query(by_step).unbind(0)):
            contexts[:, t] = attention.attend(t, query)
        ctx.save_for_backward(memory, by_step, w, v, *saved)
        return contexts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        memory, by_step, w, v, *saved = ctx.saved_tensors
        attention = _AttentionSteps(memory, w, v, v)
        attention.begin_backward(*saved)
        for t, dcontext in enumerate(grad.unbind(1)):
            attention.step_backward(t, dcontext)
        dvalues, dkeys, dw, dv = attention.gradients(by_step.flatten(0, 1))
        queries_dtype, values_dtype, keys_dtype = ctx.dtypes
        dqueries = (attention.dqueries @ attention.w).transpose(0, 1)
        return (
            *(None, dqueries.to(queries_dtype), dvalues.to(values_dtype), dkeys.to(keys_dtype), None),
            *(dw.to(w.dtype), dv.to(v.dtype)),
        )

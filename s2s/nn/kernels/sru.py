"""The kernel of the SRU. a_f = gx_f + v_f ⊙ c_{t-1}, a_r alike; with s the highway (skip) input,

    c_t = f ⊙ c_{t-1} + (1 - f) ⊙ x̃,    h_t = r ⊙ c_t + (1 - r) ⊙ s

The recurrence has no matrix, and no step reads h, so (see `s2s.nn.kernels.bptt` for the letters)

    δc_t = δh_t ⊙ r + the gradient from step t + 1     δs = δh_t ⊙ (1 - r)
    δa_r = δh_t ⊙ (c_t - s) ⊙ r (1 - r)                δx̃ = δc_t ⊙ (1 - f)
    δa_f = δc_t ⊙ (c_{t-1} - x̃) ⊙ f (1 - f)
    δc_{t-1} receives δc_t ⊙ f + δa_f ⊙ v_f + δa_r ⊙ v_r,     δv = Σ_t δa ⊙ c_{t-1}
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, split_steps, split_with_previous, weight_gradient


class SRUSteps(StepKernel):
    """States (h, c); weight (2H) of v_f, v_r; gx (…, 4H) of x̃, f, r, s."""

    num_states = 2

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, w_context: Tensor | None = None) -> None:
        self.compute, self.hidden = compute, weight.size(-1) // 2
        self.v = weight.unsqueeze(-2)
        self.v_f, self.v_r = self.v.chunk(2, dim=-1)
        self.w_context = None if w_context is None else w_context.to(compute)
        self.context_size = 0 if w_context is None else w_context.size(-1)

    def begin_forward(self, gx: Tensor, initial: State, batch_sizes: list[int]) -> tuple[Tensor, ...]:
        hs, cs = (self._empty(gx) for _ in range(2))
        contexts = gx.new_empty(*gx.shape[:-1], self.context_size, dtype=self.compute)
        views = [gx, gx[..., self.hidden : 3 * self.hidden], *gx.chunk(4, dim=-1)]
        self.views = split_steps(batch_sizes, *views, hs, cs, contexts)
        return hs, cs, gx, contexts

    def step(self, t: int, state: State) -> State:
        a, fr, candidate, f, r, skip, h, c, context = self.views[t]
        if self.w_context is not None:
            a.add_(context @ self.w_context.mT)
        f.addcmul_(self.v_f, state[1])
        r.addcmul_(self.v_r, state[1])
        fr.sigmoid_()
        torch.lerp(candidate, state[1], f, out=c)
        return torch.lerp(skip, c, r, out=h), c

    def begin_backward(self, initial: State, saved: tuple[Tensor, ...], batch_sizes: list[int]) -> None:
        hs, cs, activations, self.contexts = saved
        gates = slice(self.hidden, 3 * self.hidden)
        self.da = self._empty(hs, 4, self.compute)
        sequences = [activations[..., gates], *activations.chunk(4, dim=-1), cs, self.da]
        self.views = split_with_previous(batch_sizes, initial[1], cs, *sequences)
        grad = self._empty(initial[1], 4)
        self.dv = torch.zeros_like(self.v.expand(*initial[1].shape[:-1], -1))
        grads = [grad, grad[..., gates], *grad.chunk(4, dim=-1), *self.dv.chunk(2, dim=-1)]
        self.scratch = Scratch(torch.empty_like(initial[1]), *grads)

    def step_backward(self, t: int, grads: State) -> tuple[State, Tensor]:
        fr, candidate, f, r, skip, c, da, old_c = self.views[t]
        dh, dc = grads
        buffer, grad, da_fr, dcandidate, da_f, da_r, dskip, dv_f, dv_r = self.scratch[dh.size(-2)]
        dc = torch.addcmul(dc, dh, r)
        torch.addcmul(dh, dh, r, value=-1, out=dskip)
        torch.addcmul(dc, dc, f, value=-1, out=dcandidate)
        torch.addcmul(fr, fr, fr, value=-1, out=da_fr)
        da_f.mul_(dc).mul_(torch.sub(old_c, candidate, out=buffer))
        da_r.mul_(dh).mul_(torch.sub(c, skip, out=buffer))
        da.copy_(grad)
        dv_f.addcmul_(da_f, old_c)
        dv_r.addcmul_(da_r, old_c)
        dc = dc.mul_(f).addcmul_(da_f, self.v_f).addcmul_(da_r, self.v_r)
        zero = torch.zeros_like(dh)
        return (zero, dc), zero[..., :0] if self.w_context is None else (da @ self.w_context).to(dh.dtype)

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, self.dv.sum(dim=-2), weight_gradient(self.da, self.contexts)

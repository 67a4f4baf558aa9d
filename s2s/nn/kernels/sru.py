"""The SRU's kernel. a_f = gx_f + v_f ⊙ c_{t-1}, a_r alike; with s the input beside x̃,

    c_t = f ⊙ c_{t-1} + (1 - f) ⊙ x̃,    h_t = r ⊙ c_t + (1 - r) ⊙ s

No matrix is in the recurrence, and h_t enters nothing, so (see `s2s.nn.kernels.bptt` for the letters)

    δc_t = δh_t ⊙ r + what arrives from t + 1          δs = δh_t ⊙ (1 - r)
    δa_r = δh_t ⊙ (c_t - s) ⊙ r (1 - r)                δx̃ = δc_t ⊙ (1 - f)
    δa_f = δc_t ⊙ (c_{t-1} - x̃) ⊙ f (1 - f)
    δc_{t-1} receives δc_t ⊙ f + δa_f ⊙ v_f + δa_r ⊙ v_r,     δv = Σ_t δa ⊙ c_{t-1}
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, steps_before, steps_of, weight_gradient


class SRUSteps(StepKernel):
    """States (h, c); weight (2H) of v_f, v_r; gx (…, 4H) of x̃, f, r, s."""

    num_states = 2

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, entering: Tensor | None = None) -> None:
        self.compute, self.hidden = compute, weight.size(-1) // 2
        self.v = weight.unsqueeze(-2)
        self.v_f, self.v_r = self.v.chunk(2, dim=-1)
        self.entering = None if entering is None else entering.to(compute)
        self.extras = 0 if entering is None else entering.size(-1)

    def begin(self, gx: Tensor, first: State, sizes: list[int]) -> None:
        self.acts = gx
        self.hs, self.cs = (self._states(gx) for _ in range(2))
        fr = self.acts[..., self.hidden : 3 * self.hidden]
        self.inputs = gx.new_empty(*gx.shape[:-1], self.extras, dtype=self.compute)
        self.each = steps_of(sizes, self.acts, fr, *self.acts.chunk(4, dim=-1), self.hs, self.cs, self.inputs)

    def step(self, t: int, state: State) -> State:
        act, fr, candidate, f, r, skip, h, c, extra = self.each[t]
        if self.entering is not None:
            act.add_(extra @ self.entering.mT)
        f.addcmul_(self.v_f, state[1])
        r.addcmul_(self.v_r, state[1])
        fr.sigmoid_()
        torch.lerp(candidate, state[1], f, out=c)
        return torch.lerp(skip, c, r, out=h), c

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.cs, self.acts, self.inputs

    def resume(self, first: State, saved: tuple[Tensor, ...], sizes: list[int]) -> None:
        hs, cs, acts, self.inputs = saved
        self.da = self._like(hs, self.compute, gates=4)
        fr = acts[..., self.hidden : 3 * self.hidden]
        self.each = steps_before(sizes, first[1], cs, fr, *acts.chunk(4, dim=-1), cs, self.da)
        grad = self._like(first[1], gates=4)
        self.dv = torch.zeros_like(self.v.expand(*first[1].shape[:-1], -1))
        self.scratch = Scratch(
            *(torch.empty_like(first[1]), grad, grad[..., self.hidden : 3 * self.hidden], *grad.chunk(4, dim=-1)),
            *self.dv.chunk(2, dim=-1),
        )

    def back(self, t: int, grads: State) -> tuple[State, Tensor]:
        fr, candidate, f, r, skip, c, da, before = self.each[t]
        dh, dc = grads
        room, grad, da_fr, dcandidate, da_f, da_r, dskip, dv_f, dv_r = self.scratch[dh.size(-2)]
        dc = torch.addcmul(dc, dh, r)
        torch.addcmul(dh, dh, r, value=-1, out=dskip)
        torch.addcmul(dc, dc, f, value=-1, out=dcandidate)
        torch.addcmul(fr, fr, fr, value=-1, out=da_fr)
        da_f.mul_(dc).mul_(torch.sub(before, candidate, out=room))
        da_r.mul_(dh).mul_(torch.sub(c, skip, out=room))
        da.copy_(grad)
        dv_f.addcmul_(da_f, before)
        dv_r.addcmul_(da_r, before)
        dc = dc.mul_(f).addcmul_(da_f, self.v_f).addcmul_(da_r, self.v_r)
        nothing = torch.zeros_like(dh)
        return (nothing, dc), nothing[..., :0] if self.entering is None else (da @ self.entering).to(dh.dtype)

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, self.dv.sum(dim=-2), weight_gradient(self.da, self.inputs)

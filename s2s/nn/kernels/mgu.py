"""The MGU's kernel. a_h̃ = gx_h̃ + W_h̃ (f ⊙ h_{t-1}),  h_t = (1 - f) ⊙ h_{t-1} + f ⊙ h̃, so (see
`s2s.nn.kernels.bptt` for the letters)

    δa_h̃ = δh_t ⊙ f ⊙ (1 - h̃²)            u = δa_h̃ W_h̃
    δa_f = (δh_t ⊙ (h̃ - h_{t-1}) + u ⊙ h_{t-1}) ⊙ f (1 - f)
    δh_{t-1} = δh_t ⊙ (1 - f) + u ⊙ f + δa_f W_f,     δW_h̃ = Σ_t δa_h̃ᵀ (f ⊙ h_{t-1})
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, steps_before, steps_of, tanh_, weight_gradient


class MGUSteps(StepKernel):
    """States (h); weight (2H, H)."""

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, entering: Tensor | None = None) -> None:
        super().__init__(compute, weight, entering=entering)
        # Contiguous, because products of several matrices at once are three times as slow on parts of a larger one.
        self.w_gate, self.w_candidate = (part.contiguous() for part in self.w.chunk(2, dim=-2))

    def begin(self, gx: Tensor, first: State, sizes: list[int]) -> None:
        self.acts, self.hs = gx, self._states(gx)
        self.inputs, before, extra = self._inputs(gx)
        self.remembered, *of_candidate = self._inputs(gx)
        self.to_gate, self.to_candidate = self.w_gate.mT, self.w_candidate.mT
        parts = [*self.acts.chunk(2, dim=-1), self.hs, self.inputs, before, self.remembered, *of_candidate, extra]
        self.each = steps_of(sizes, *parts)

    def step(self, t: int, state: State) -> State:
        f, candidate, new, inputs, before, of_candidate, remembered, repeated, extra = self.each[t]
        (h,) = state
        before.copy_(h)
        f.add_(inputs @ self.to_gate).sigmoid_()
        remembered.copy_(f * h)
        repeated.copy_(extra)
        tanh_(candidate.add_(of_candidate @ self.to_candidate))
        return (torch.lerp(h, candidate, f, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts, self.inputs, self.remembered

    def resume(self, first: State, saved: tuple[Tensor, ...], sizes: list[int]) -> None:
        hs, acts, self.inputs, self.remembered = saved
        self.da = self._like(hs, self.compute, gates=2)
        self.each = steps_before(sizes, first[0], hs, *acts.chunk(2, dim=-1), *self.da.chunk(2, dim=-1))
        self.scratch = Scratch(torch.empty_like(first[0]), torch.empty_like(first[0]))

    def back(self, t: int, grads: State) -> tuple[State, Tensor]:
        f, candidate, da_f, da_h, before = self.each[t]
        (dh,) = grads
        room, grad = self.scratch[dh.size(-2)]
        slope = torch.mul(candidate, candidate, out=room)
        torch.addcmul(f, f, slope, value=-1, out=slope)
        u, extra = self._parts((da_h.copy_(slope.mul_(dh)) @ self.w_candidate).to(dh.dtype))
        torch.sub(candidate, before, out=grad).mul_(dh).addcmul_(u, before)
        grad.mul_(torch.addcmul(f, f, f, value=-1, out=room))
        kept = torch.addcmul(dh, dh, f, value=-1).addcmul_(u, f)
        of_state, of_extra = self._parts((da_f.copy_(grad) @ self.w_gate).to(dh.dtype))
        return (kept.add_(of_state),), extra + of_extra

    def gradients(self) -> tuple[Tensor, ...]:
        gate, candidate = self.da.chunk(2, dim=-1)
        parts = [weight_gradient(gate, self.inputs), weight_gradient(candidate, self.remembered)]
        return self.da, *self._parts(torch.cat(parts, dim=-2))

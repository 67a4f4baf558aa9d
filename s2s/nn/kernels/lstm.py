"""The LSTM's kernel. c_t = f ⊙ c_{t-1} + i ⊙ c̃,  h_t = o ⊙ tanh(c_t), so (see `s2s.nn.kernels.bptt` for the letters)

    δc_t = δh_t ⊙ o ⊙ (1 - tanh²(c_t)) + δc_{t+1} ⊙ f_{t+1}
    δa_f = δc_t ⊙ c_{t-1} ⊙ f (1 - f)      δa_i = δc_t ⊙ c̃ ⊙ i (1 - i)
    δa_o = δh_t ⊙ tanh(c_t) ⊙ o (1 - o)    δa_c̃ = δc_t ⊙ i ⊙ (1 - c̃²)

A gate that is fixed at 1 has a_t = ∞ there, where its derivative is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, steps_before, steps_of, tanh_, weight_gradient


class LSTMSteps(StepKernel):
    """States (h, c); weight (4H, H)."""

    num_states = 2

    def begin(self, gx: Tensor, first: State, sizes: list[int]) -> None:
        self.gates = gx
        self.hs, self.cs, self.shown = (self._states(gx) for _ in range(3))
        self.inputs, *entering = self._inputs(gx)
        self.transposed = self.w.mT
        split = 3 * self.hidden
        parts = [self.gates, self.gates[..., :split], self.gates[..., split:], *self.gates.chunk(4, dim=-1)]
        self.each = steps_of(sizes, *parts, self.hs, self.cs, self.shown, self.inputs, *entering)

    def step(self, t: int, state: State) -> State:
        gate, sigmoids, tanhs, f, i, o, candidate, h, c, shown, inputs, before, _ = self.each[t]
        before.copy_(state[0])
        gate.add_(inputs @ self.transposed)
        sigmoids.sigmoid_()
        tanh_(tanhs)
        torch.mul(f, state[1], out=c).addcmul_(i, candidate)
        return torch.mul(o, tanh_(shown.copy_(c)), out=h), c

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.cs, self.shown, self.gates, self.inputs

    def resume(self, first: State, saved: tuple[Tensor, ...], sizes: list[int]) -> None:
        _, cs, shown, gates, self.inputs = saved
        self.da = self._like(shown, self.compute, gates=4)
        self.each = steps_before(
            sizes, first[1], cs, gates[..., : 3 * self.hidden], *gates.chunk(4, dim=-1), shown, self.da
        )
        grad = self._like(first[1], gates=4)
        room = torch.empty_like(first[1])
        self.scratch = Scratch(room, grad, grad[..., : 3 * self.hidden], *grad.chunk(4, dim=-1))

    def back(self, t: int, grads: State) -> tuple[State, Tensor]:
        sigmoids, f, i, o, candidate, shown, da, before = self.each[t]
        dh, dc = grads
        room, grad, da_sigmoids, da_f, da_i, da_o, da_c = self.scratch[dh.size(-2)]
        through = torch.mul(shown, shown, out=room)
        torch.addcmul(o, o, through, value=-1, out=through)
        dc = torch.addcmul(dc, dh, through)
        torch.addcmul(sigmoids, sigmoids, sigmoids, value=-1, out=da_sigmoids)
        da_f.mul_(dc).mul_(before)
        da_i.mul_(dc).mul_(candidate)
        da_o.mul_(dh).mul_(shown)
        torch.mul(candidate, candidate, out=da_c)
        torch.addcmul(i, i, da_c, value=-1, out=da_c).mul_(dc)
        dh, extra = self._parts((da.copy_(grad) @ self.w).to(dh.dtype))
        return (dh, dc.mul_(f)), extra

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, *self._parts(weight_gradient(self.da, self.inputs))

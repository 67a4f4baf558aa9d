"""The kernel of the LSTM. c_t = f ⊙ c_{t-1} + i ⊙ c̃,  h_t = o ⊙ tanh(c_t), so (letters as in `s2s.nn.kernels.bptt`)

    δc_t = δh_t ⊙ o ⊙ (1 - tanh²(c_t)) + δc_{t+1} ⊙ f_{t+1}
    δa_f = δc_t ⊙ c_{t-1} ⊙ f (1 - f)      δa_i = δc_t ⊙ c̃ ⊙ i (1 - i)
    δa_o = δh_t ⊙ tanh(c_t) ⊙ o (1 - o)    δa_c̃ = δc_t ⊙ i ⊙ (1 - c̃²)

A removed gate, whose activation is 1, has a_t = ∞, where its derivative is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, split_steps, split_with_previous, tanh_


class LSTMSteps(StepKernel):
    """States (h, c); weight (4H, H)."""

    num_states = 2

    def begin_forward(self, gx: Tensor, initial: State, batch_sizes: list[int]) -> tuple[Tensor, ...]:
        hs, cs, tanh_cs = (self._empty(gx) for _ in range(3))
        whole, *inputs = self._input_buffers(gx)
        split = 3 * self.hidden
        gates = [gx, gx[..., :split], gx[..., split:], *gx.chunk(4, dim=-1)]
        self.views = split_steps(batch_sizes, *gates, hs, cs, tanh_cs, whole, *inputs)
        return hs, cs, tanh_cs, gx, whole

    def step(self, t: int, state: State) -> State:
        gates, sigmoids, tanhs, f, i, o, candidate, h, c, tanh_c, inputs, old, _ = self.views[t]
        old.copy_(state[0])
        gates.add_(inputs @ self.w_t)
        sigmoids.sigmoid_()
        tanh_(tanhs)
        torch.mul(f, state[1], out=c).addcmul_(i, candidate)
        return torch.mul(o, tanh_(tanh_c.copy_(c)), out=h), c

    def begin_backward(self, initial: State, saved: tuple[Tensor, ...], batch_sizes: list[int]) -> None:
        _, cs, tanh_cs, gates, self.inputs = saved
        split = 3 * self.hidden
        self.da = self._empty(tanh_cs, 4, self.compute)
        sequences = [gates[..., :split], *gates.chunk(4, dim=-1), tanh_cs, self.da]
        self.views = split_with_previous(batch_sizes, initial[1], cs, *sequences)
        grad = self._empty(initial[1], 4)
        self.scratch = Scratch(torch.empty_like(initial[1]), grad, grad[..., :split], *grad.chunk(4, dim=-1))

    def step_backward(self, t: int, grads: State) -> tuple[State, Tensor]:
        sigmoids, f, i, o, candidate, tanh_c, da, old_c = self.views[t]
        dh, dc = grads
        buffer, grad, da_sigmoids, da_f, da_i, da_o, da_c = self.scratch[dh.size(-2)]
        grad_c = torch.mul(tanh_c, tanh_c, out=buffer)  # ∂h/∂c
        torch.addcmul(o, o, grad_c, value=-1, out=grad_c)
        dc = torch.addcmul(dc, dh, grad_c)
        torch.addcmul(sigmoids, sigmoids, sigmoids, value=-1, out=da_sigmoids)
        da_f.mul_(dc).mul_(old_c)
        da_i.mul_(dc).mul_(candidate)
        da_o.mul_(dh).mul_(tanh_c)
        torch.mul(candidate, candidate, out=da_c)
        torch.addcmul(i, i, da_c, value=-1, out=da_c).mul_(dc)
        dh, dcontext = self._split((da.copy_(grad) @ self.w).to(dh.dtype))
        return (dh, dc.mul_(f)), dcontext

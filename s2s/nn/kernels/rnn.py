"""The RNN's kernel. h_t = tanh(a_t), so (see `s2s.nn.kernels.bptt` for the letters)

δa_t = δh_t ⊙ (1 - h_t²)
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, steps_of, tanh_, weight_gradient


class RNNSteps(StepKernel):
    """States (h); weight (H, H)."""

    def begin(self, gx: Tensor, first: State, sizes: list[int]) -> None:
        self.hs = gx
        self.inputs, *parts = self._inputs(gx)
        self.transposed = self.w.mT
        self.each = steps_of(sizes, self.hs, self.inputs, *parts)

    def step(self, t: int, state: State) -> State:
        act, inputs, before, _ = self.each[t]
        before.copy_(state[0])
        return (tanh_(act.add_(inputs @ self.transposed)),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.inputs

    def resume(self, first: State, saved: tuple[Tensor, ...], sizes: list[int]) -> None:
        hs, self.inputs = saved
        self.da = self._like(hs, self.compute)
        self.each = steps_of(sizes, hs, self.da)
        self.scratch = Scratch(torch.empty_like(first[0]))

    def back(self, t: int, grads: State) -> tuple[State, Tensor]:
        (h, da), (dh,) = self.each[t], grads
        (room,) = self.scratch[dh.size(-2)]
        square = torch.mul(h, h, out=room)
        da.copy_(torch.addcmul(dh, dh, square, value=-1, out=square))
        before, extra = self._parts((da @ self.w).to(dh.dtype))
        return (before,), extra

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, *self._parts(weight_gradient(self.da, self.inputs))

"""The kernel of the RNN. h_t = tanh(a_t), so (see `s2s.nn.kernels.bptt` for the letters)

δa_t = δh_t ⊙ (1 - h_t²)
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, split_steps, tanh_


class RNNSteps(StepKernel):
    """States (h); weight (H, H)."""

    def begin_forward(self, gx: Tensor, initial: State, batch_sizes: list[int]) -> tuple[Tensor, ...]:
        whole, *inputs = self._input_buffers(gx)
        self.views = split_steps(batch_sizes, gx, whole, *inputs)
        return gx, whole  # h overwrites gx

    def step(self, t: int, state: State) -> State:
        a, inputs, old, _ = self.views[t]
        old.copy_(state[0])
        return (tanh_(a.add_(inputs @ self.w_t)),)

    def begin_backward(self, initial: State, saved: tuple[Tensor, ...], batch_sizes: list[int]) -> None:
        hs, self.inputs = saved
        self.da = self._empty(hs, dtype=self.compute)
        self.views = split_steps(batch_sizes, hs, self.da)
        self.scratch = Scratch(torch.empty_like(initial[0]))

    def step_backward(self, t: int, grads: State) -> tuple[State, Tensor]:
        (h, da), (dh,) = self.views[t], grads
        (buffer,) = self.scratch[dh.size(-2)]
        square = torch.mul(h, h, out=buffer)
        da.copy_(torch.addcmul(dh, dh, square, value=-1, out=square))
        dh, dcontext = self._split((da @ self.w).to(dh.dtype))
        return (dh,), dcontext

"""The kernels of GRU and MGU. h_t = (1 - z) ⊙ h_{t-1} + z ⊙ h̃ (see `s2s.nn.kernels.bptt` for the letters).

**Reset before**, a_h̃ = gx_h̃ + W_h̃ (r ⊙ h_{t-1}):

    δa_h̃ = δh_t ⊙ z ⊙ (1 - h̃²)            δa_z = δh_t ⊙ (h̃ - h_{t-1}) ⊙ z (1 - z)
    u = δa_h̃ W_h̃                          δa_r = u ⊙ h_{t-1} ⊙ r (1 - r)
    δh_{t-1} = δh_t ⊙ (1 - z) + u ⊙ r + δa_z W_z + δa_r W_r,     δW_h̃ = Σ_t δa_h̃ᵀ (r ⊙ h_{t-1})

**Reset after**, a_h̃ = gx_h̃ + r ⊙ m,  m = W_h̃ h_{t-1} + b_hn: δa_h̃ and δa_z as above,

    δa_r = δa_h̃ ⊙ m ⊙ r (1 - r),    δm = δa_h̃ ⊙ r,    δh_{t-1} = δh_t ⊙ (1 - z) + [δa_z, δa_r, δm] W

**MGU**, reset before with f in place of both z and r:

    δa_f = (δh_t ⊙ (h̃ - h_{t-1}) + u ⊙ h_{t-1}) ⊙ f (1 - f),     δh_{t-1} = δh_t ⊙ (1 - f) + u ⊙ f + δa_f W_f
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, split_steps, split_with_previous, tanh_, weight_gradient


class GRUSteps(StepKernel):
    """Reset before. States (h); weight (3H, H)."""

    num_gates: ClassVar[int] = 2  # z and r; a single gate is both

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, w_context: Tensor | None = None) -> None:
        super().__init__(compute, weight, w_context=w_context)
        # Contiguous, because batched matrix multiplications are three times as slow on parts of a larger tensor.
        self.w_gates, self.w_candidate = (part.contiguous() for part in self._gates_and_candidate(self.w, -2))

    def _gates_and_candidate(self, x: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        size = self.num_gates * self.hidden
        return x.narrow(dim, 0, size), x.narrow(dim, size, self.hidden)

    def _activation_views(self, activations: Tensor) -> list[Tensor]:
        """All gates, z, r, h̃."""
        gates, candidate = self._gates_and_candidate(activations)
        return [gates, gates[..., : self.hidden], gates[..., -self.hidden :], candidate]

    def begin_forward(self, gx: Tensor, initial: State, batch_sizes: list[int]) -> tuple[Tensor, ...]:
        hs = self._empty(gx)
        whole, *inputs = self._input_buffers(gx)
        reset_whole, *reset_inputs = self._input_buffers(gx)
        self.w_gates_t, self.w_candidate_t = self.w_gates.mT, self.w_candidate.mT
        buffers = [hs, whole, reset_whole, *reset_inputs, *inputs]
        self.views = split_steps(batch_sizes, *self._activation_views(gx), *buffers)
        return hs, gx, whole, reset_whole

    def step(self, t: int, state: State) -> State:
        gates, z, r, candidate, new, inputs, reset_inputs, reset_h, context_copy, old, context = self.views[t]
        (h,) = state
        old.copy_(h)
        gates.add_(inputs @ self.w_gates_t).sigmoid_()
        reset_h.copy_(r * h)
        context_copy.copy_(context)
        tanh_(candidate.add_(reset_inputs @ self.w_candidate_t))
        return (torch.lerp(h, candidate, z, out=new),)

    def begin_backward(self, initial: State, saved: tuple[Tensor, ...], batch_sizes: list[int]) -> None:
        hs, activations, self.inputs, self.reset_inputs = saved
        self.da = self._empty(hs, self.num_gates + 1, self.compute)
        sequences = [*self._activation_views(activations), *self._gates_and_candidate(self.da)]
        self.views = split_with_previous(batch_sizes, initial[0], hs, *sequences)
        grad = self._empty(initial[0], self.num_gates)
        self.scratch = Scratch(torch.empty_like(initial[0]), grad, *grad.chunk(self.num_gates, dim=-1))

    def step_backward(self, t: int, grads: State) -> tuple[State, Tensor]:
        views, (dh,) = self.views[t], grads
        _, z, r, candidate, da_gates, da_candidate, _ = views
        buffer, grad, *_ = scratch = self.scratch[dh.size(-2)]
        grad_a = torch.mul(candidate, candidate, out=buffer)  # ∂h/∂a_h̃
        torch.addcmul(z, z, grad_a, value=-1, out=grad_a)
        u, dcontext = self._split((da_candidate.copy_(grad_a.mul_(dh)) @ self.w_candidate).to(dh.dtype))
        self._gate_gradients(views, scratch, dh, u)
        direct = torch.addcmul(dh, dh, z, value=-1).addcmul_(u, r)
        through_gates, dcontext_gates = self._split((da_gates.copy_(grad) @ self.w_gates).to(dh.dtype))
        return (direct.add_(through_gates),), dcontext + dcontext_gates

    def _gate_gradients(self, views: tuple[Tensor, ...], scratch: tuple[Tensor, ...], dh: Tensor, u: Tensor) -> None:
        """Writes δa of the gates to `scratch[1]`."""
        gates, _, _, candidate, _, _, h = views
        buffer, grad, da_z, da_r = scratch
        torch.addcmul(gates, gates, gates, value=-1, out=grad)
        da_z.mul_(dh).mul_(torch.sub(candidate, h, out=buffer))
        da_r.mul_(u).mul_(h)

    def gradients(self) -> tuple[Tensor, ...]:
        da_gates, da_candidate = self._gates_and_candidate(self.da)
        parts = [weight_gradient(da_gates, self.inputs), weight_gradient(da_candidate, self.reset_inputs)]
        return self.da, *self._split(torch.cat(parts, dim=-2))


class MGUSteps(GRUSteps):
    """States (h); weight (2H, H)."""

    num_gates = 1

    def _gate_gradients(self, views: tuple[Tensor, ...], scratch: tuple[Tensor, ...], dh: Tensor, u: Tensor) -> None:
        f, _, _, candidate, _, _, h = views
        buffer, grad, *_ = scratch
        torch.sub(candidate, h, out=grad).mul_(dh).addcmul_(u, h)
        grad.mul_(torch.addcmul(f, f, f, value=-1, out=buffer))


class GRUAfterSteps(StepKernel):
    """Reset after. States (h); weight (3H, H), bias b_hn (H).

    The context inputs enter a_h̃ outside of the reset gate. Their columns of m are therefore 0, and they are multiplied
    once more.
    """

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, w_context: Tensor | None = None) -> None:
        split, gates_only, self.w_context = 2 * weight.size(-1), None, None
        if w_context is not None:
            gates, candidate = w_context[:split], w_context[split:]
            gates_only, self.w_context = torch.cat([gates, torch.zeros_like(candidate)]), candidate.to(compute)
        super().__init__(compute, weight, w_context=gates_only)
        self.bias = biases[0].unsqueeze(-2)

    def begin_forward(self, gx: Tensor, initial: State, batch_sizes: list[int]) -> tuple[Tensor, ...]:
        hs, ms = (self._empty(gx) for _ in range(2))
        whole, *inputs = self._input_buffers(gx)
        gates = [gx[..., : 2 * self.hidden], *gx.chunk(3, dim=-1)]
        self.views = split_steps(batch_sizes, *gates, ms, hs, whole, *inputs)
        return hs, gx, ms, whole

    def step(self, t: int, state: State) -> State:
        zr, z, r, candidate, m, new, inputs, old, context = self.views[t]
        (h,), split = state, 2 * self.hidden
        old.copy_(h)
        gh = inputs @ self.w_t
        zr.add_(gh[..., :split]).sigmoid_()
        torch.add(self.bias, gh[..., split:], out=m)
        if self.w_context is not None:
            candidate.add_(context @ self.w_context.mT)
        tanh_(candidate.addcmul_(r, m))
        return (torch.lerp(h, candidate, z, out=new),)

    def begin_backward(self, initial: State, saved: tuple[Tensor, ...], batch_sizes: list[int]) -> None:
        hs, activations, ms, self.inputs = saved
        split = 2 * self.hidden
        self.dgh = self._empty(hs, 3, self.compute)
        self.da_h = self._empty(hs, dtype=self.compute)
        sequences = [activations[..., :split], *activations.chunk(3, dim=-1), ms, self.dgh, self.da_h]
        self.views = split_with_previous(batch_sizes, initial[0], hs, *sequences)
        grad = self._empty(initial[0], 3)
        self.scratch = Scratch(torch.empty_like(initial[0]), grad, grad[..., :split], *grad.chunk(3, dim=-1))

    def step_backward(self, t: int, grads: State) -> tuple[State, Tensor]:
        zr, z, r, candidate, m, dgh, da_h, h = self.views[t]
        (dh,) = grads
        buffer, grad, da_zr, da_z, da_r, dm = self.scratch[dh.size(-2)]
        grad_a = torch.mul(candidate, candidate, out=buffer)  # ∂h/∂a_h̃
        da_candidate = torch.addcmul(z, z, grad_a, value=-1, out=grad_a).mul_(dh)
        da_h.copy_(da_candidate)
        torch.mul(da_candidate, r, out=dm)
        torch.addcmul(zr, zr, zr, value=-1, out=da_zr)
        da_r.mul_(da_candidate).mul_(m)
        da_z.mul_(dh).mul_(torch.sub(candidate, h, out=buffer))
        through_gates, dcontext = self._split((dgh.copy_(grad) @ self.w).to(dh.dtype))
        if self.w_context is not None:
            dcontext = dcontext + da_h @ self.w_context
        return (torch.addcmul(dh, dh, z, value=-1).add_(through_gates),), dcontext

    def gradients(self) -> tuple[Tensor, ...]:
        split, dtype = 2 * self.hidden, self.scratch.buffers[0].dtype
        dgx = torch.cat([self.dgh[..., :split], self.da_h], dim=-1)
        dweight = weight_gradient(self.dgh, self.inputs)
        if self.w_context is not None:
            dweight[split:, self.hidden :] = weight_gradient(self.da_h, self.inputs[:, self.hidden :])
        return dgx, *self._split(dweight), self.dgh[..., split:].sum(dim=-2, dtype=dtype)

"""The GRU's kernels. h_t = (1 - z) ⊙ h_{t-1} + z ⊙ h̃ (see `s2s.nn.kernels.bptt` for the letters).

**Reset before**, a_h̃ = gx_h̃ + W_h̃ (r ⊙ h_{t-1}):

    δa_h̃ = δh_t ⊙ z ⊙ (1 - h̃²)            δa_z = δh_t ⊙ (h̃ - h_{t-1}) ⊙ z (1 - z)
    u = δa_h̃ W_h̃                          δa_r = u ⊙ h_{t-1} ⊙ r (1 - r)
    δh_{t-1} = δh_t ⊙ (1 - z) + u ⊙ r + δa_z W_z + δa_r W_r,     δW_h̃ = Σ_t δa_h̃ᵀ (r ⊙ h_{t-1})

**Reset after**, a_h̃ = gx_h̃ + r ⊙ m,  m = W_h̃ h_{t-1} + b_hn: δa_h̃ and δa_z as above,

    δa_r = δa_h̃ ⊙ m ⊙ r (1 - r),    δm = δa_h̃ ⊙ r,    δh_{t-1} = δh_t ⊙ (1 - z) + [δa_z, δa_r, δm] W
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import Scratch, State, StepKernel, steps_before, steps_of, tanh_, weight_gradient


class GRUSteps(StepKernel):
    """Reset before. States (h); weight (3H, H)."""

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, entering: Tensor | None = None) -> None:
        super().__init__(compute, weight, entering=entering)
        # Contiguous, because products of several matrices at once are three times as slow on parts of a larger one.
        self.w_gates = self.w[..., : 2 * self.hidden, :].contiguous()
        self.w_candidate = self.w[..., 2 * self.hidden :, :].contiguous()

    def begin(self, gx: Tensor, first: State, sizes: list[int]) -> None:
        self.acts, self.hs = gx, self._states(gx)
        self.inputs, before, extra = self._inputs(gx)
        self.remembered, *of_candidate = self._inputs(gx)
        self.to_gates, self.to_candidate = self.w_gates.mT, self.w_candidate.mT
        parts = [self.acts[..., : 2 * self.hidden], *self.acts.chunk(3, dim=-1), self.hs]
        self.each = steps_of(sizes, *parts, self.inputs, before, self.remembered, *of_candidate, extra)

    def step(self, t: int, state: State) -> State:
        zr, z, r, candidate, new, inputs, before, of_candidate, remembered, repeated, extra = self.each[t]
        (h,) = state
        before.copy_(h)
        zr.add_(inputs @ self.to_gates).sigmoid_()
        remembered.copy_(r * h)
        repeated.copy_(extra)
        tanh_(candidate.add_(of_candidate @ self.to_candidate))
        return (torch.lerp(h, candidate, z, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts, self.inputs, self.remembered

    def resume(self, first: State, saved: tuple[Tensor, ...], sizes: list[int]) -> None:
        hs, acts, self.inputs, self.remembered = saved
        split = 2 * self.hidden
        self.da = self._like(hs, self.compute, gates=3)
        parts = [acts[..., :split], *acts.chunk(3, dim=-1), self.da[..., :split], self.da[..., split:]]
        self.each = steps_before(sizes, first[0], hs, *parts)
        grad = self._like(first[0], gates=2)
        self.scratch = Scratch(torch.empty_like(first[0]), grad, *grad.chunk(2, dim=-1))

    def back(self, t: int, grads: State) -> tuple[State, Tensor]:
        zr, z, r, candidate, of_gates, of_candidate, before = self.each[t]
        (dh,) = grads
        room, grad, da_z, da_r = self.scratch[dh.size(-2)]
        slope = torch.mul(candidate, candidate, out=room)
        torch.addcmul(z, z, slope, value=-1, out=slope)
        u, extra = self._parts((of_candidate.copy_(slope.mul_(dh)) @ self.w_candidate).to(dh.dtype))
        torch.addcmul(zr, zr, zr, value=-1, out=grad)
        da_z.mul_(dh).mul_(torch.sub(candidate, before, out=room))
        da_r.mul_(u).mul_(before)
        kept = torch.addcmul(dh, dh, z, value=-1).addcmul_(u, r)
        of_state, of_extra = self._parts((of_gates.copy_(grad) @ self.w_gates).to(dh.dtype))
        return (kept.add_(of_state),), extra + of_extra

    def gradients(self) -> tuple[Tensor, ...]:
        gates = weight_gradient(self.da[..., : 2 * self.hidden], self.inputs)
        candidates = weight_gradient(self.da[..., 2 * self.hidden :], self.remembered)
        return self.da, *self._parts(torch.cat([gates, candidates], dim=-2))


class GRUAfterSteps(StepKernel):
    """Reset after. States (h); weight (3H, H), bias b_hn (H).

    The extra input enters a_h̃ outside of the reset gate, so its columns of m are 0 and it is multiplied once more.
    """

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, entering: Tensor | None = None) -> None:
        split = 2 * weight.size(-1)
        outside = None if entering is None else torch.cat([entering[:split], torch.zeros_like(entering[split:])])
        super().__init__(compute, weight, entering=outside)
        self.bias = biases[0].unsqueeze(-2)
        self.entering = None if entering is None else entering[split:].to(compute)

    def begin(self, gx: Tensor, first: State, sizes: list[int]) -> None:
        self.acts = gx
        self.hs, self.ms = (self._states(gx) for _ in range(2))
        self.inputs, *entering = self._inputs(gx)
        self.transposed = self.w.mT
        parts = [self.acts[..., : 2 * self.hidden], *self.acts.chunk(3, dim=-1)]
        self.each = steps_of(sizes, *parts, self.ms, self.hs, self.inputs, *entering)

    def step(self, t: int, state: State) -> State:
        zr, z, r, candidate, m, new, inputs, before, extra = self.each[t]
        (h,), split = state, 2 * self.hidden
        before.copy_(h)
        gh = inputs @ self.transposed
        zr.add_(gh[..., :split]).sigmoid_()
        torch.add(self.bias, gh[..., split:], out=m)
        if self.entering is not None:
            candidate.add_(extra @ self.entering.mT)
        tanh_(candidate.addcmul_(r, m))
        return (torch.lerp(h, candidate, z, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts, self.ms, self.inputs

    def resume(self, first: State, saved: tuple[Tensor, ...], sizes: list[int]) -> None:
        hs, acts, ms, self.inputs = saved
        split = 2 * self.hidden
        self.dgh = self._like(hs, self.compute, gates=3)
        self.da_h = self._like(hs, self.compute)
        self.each = steps_before(
            sizes, first[0], hs, acts[..., :split], *acts.chunk(3, dim=-1), ms, self.dgh, self.da_h
        )
        grad = self._like(first[0], gates=3)
        self.scratch = Scratch(torch.empty_like(first[0]), grad, grad[..., :split], *grad.chunk(3, dim=-1))

    def back(self, t: int, grads: State) -> tuple[State, Tensor]:
        zr, z, r, candidate, m, dgh, da_h, before = self.each[t]
        (dh,) = grads
        room, grad, da_zr, da_z, da_r, dm = self.scratch[dh.size(-2)]
        slope = torch.mul(candidate, candidate, out=room)
        through = torch.addcmul(z, z, slope, value=-1, out=slope).mul_(dh)
        da_h.copy_(through)
        torch.mul(through, r, out=dm)
        torch.addcmul(zr, zr, zr, value=-1, out=da_zr)
        da_r.mul_(through).mul_(m)
        da_z.mul_(dh).mul_(torch.sub(candidate, before, out=room))
        of_state, extra = self._parts((dgh.copy_(grad) @ self.w).to(dh.dtype))
        if self.entering is not None:
            extra = extra + da_h @ self.entering
        return (torch.addcmul(dh, dh, z, value=-1).add_(of_state),), extra

    def gradients(self) -> tuple[Tensor, ...]:
        split, kind = 2 * self.hidden, self.scratch.buffers[0].dtype
        dgx = torch.cat([self.dgh[..., :split], self.da_h], dim=-1)
        of_weight = weight_gradient(self.dgh, self.inputs)
        if self.entering is not None:
            of_weight[split:, self.hidden :] = weight_gradient(self.da_h, self.inputs[:, self.hidden :])
        return dgx, *self._parts(of_weight), self.dgh[..., split:].sum(dim=-2, dtype=kind)

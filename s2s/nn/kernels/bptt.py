"""Back-propagation through time by hand: a whole sequence of a built-in cell as one node of the autograd graph.

Autograd would record some twenty small operations for each step and walk them back one by one. Here the forward pass
keeps what the backward pass needs, and the backward pass walks time once, with one matrix product a step.

Letters: T steps, B batch, H hidden. δv is the gradient of the loss with respect to v. a_t = gx_t + W h_{t-1} are a
step's pre-activations, gx the input's part. For every cell

    δgx_t = δa_t,      δh_{t-1} receives δa_t W,      δW = Σ_t δa_tᵀ h_{t-1}

and as W is shared by all steps, the last sum is one matrix product over T·B rows after the walk. δh_t is what arrives
from above (the output at t) plus what arrives from step t + 1. With σ' = σ (1 - σ) and tanh' = 1 - tanh²:

**RNN**, h_t = tanh(a_t):

    δa_t = δh_t ⊙ (1 - h_t²)

**LSTM**, c_t = f ⊙ c_{t-1} + i ⊙ c̃,  h_t = o ⊙ tanh(c_t):

    δc_t = δh_t ⊙ o ⊙ (1 - tanh²(c_t)) + δc_{t+1} ⊙ f_{t+1}
    δa_f = δc_t ⊙ c_{t-1} ⊙ f (1 - f)      δa_i = δc_t ⊙ c̃ ⊙ i (1 - i)
    δa_o = δh_t ⊙ tanh(c_t) ⊙ o (1 - o)    δa_c̃ = δc_t ⊙ i ⊙ (1 - c̃²)

**GRU**, reset before, a_h̃ = gx_h̃ + W_h̃ (r ⊙ h_{t-1}),  h_t = (1 - z) ⊙ h_{t-1} + z ⊙ h̃:

    δa_h̃ = δh_t ⊙ z ⊙ (1 - h̃²)            δa_z = δh_t ⊙ (h̃ - h_{t-1}) ⊙ z (1 - z)
    u = δa_h̃ W_h̃                          δa_r = u ⊙ h_{t-1} ⊙ r (1 - r)
    δh_{t-1} = δh_t ⊙ (1 - z) + u ⊙ r + δa_z W_z + δa_r W_r,     δW_h̃ = Σ_t δa_h̃ᵀ (r ⊙ h_{t-1})

**GRU**, reset after, a_h̃ = gx_h̃ + r ⊙ (W_h̃ h_{t-1} + b_hn), m = W_h̃ h_{t-1} + b_hn: δa_h̃ and δa_z as above,

    δa_r = δa_h̃ ⊙ m ⊙ r (1 - r),    δm = δa_h̃ ⊙ r,    δh_{t-1} = δh_t ⊙ (1 - z) + [δa_z, δa_r, δm] W

**MGU**, a_h̃ = gx_h̃ + W_h̃ (f ⊙ h_{t-1}),  h_t = (1 - f) ⊙ h_{t-1} + f ⊙ h̃:

    δa_h̃ = δh_t ⊙ f ⊙ (1 - h̃²)            u = δa_h̃ W_h̃
    δa_f = (δh_t ⊙ (h̃ - h_{t-1}) + u ⊙ h_{t-1}) ⊙ f (1 - f)
    δh_{t-1} = δh_t ⊙ (1 - f) + u ⊙ f + δa_f W_f,     δW_h̃ = Σ_t δa_h̃ᵀ (f ⊙ h_{t-1})

**SRU**, a_f = gx_f + v_f ⊙ c_{t-1}, a_r alike; s the input beside x̃;  c_t = f ⊙ c_{t-1} + (1 - f) ⊙ x̃,
h_t = r ⊙ c_t + (1 - r) ⊙ s. No matrix is in the recurrence, and h_t enters nothing:

    δc_t = δh_t ⊙ r + what arrives from t + 1          δs = δh_t ⊙ (1 - r)
    δa_r = δh_t ⊙ (c_t - s) ⊙ r (1 - r)                δx̃ = δc_t ⊙ (1 - f)
    δa_f = δc_t ⊙ (c_{t-1} - x̃) ⊙ f (1 - f)
    δc_{t-1} receives δc_t ⊙ f + δa_f ⊙ v_f + δa_r ⊙ v_r,     δv = Σ_t δa ⊙ c_{t-1}

A step works in small buffers that stay in the processor's cache; what a whole sequence needs is only written. Under
autocast the matrix products run in its type; states, gates and sums stay in fp32.

A cell's part of this is a `StepKernel`. `Sequence` runs one over a whole input; `s2s.nn.kernels.attention` runs one
with an attention between the steps.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

State = tuple[Tensor, ...]


def compute_type(like: Tensor) -> torch.dtype:
    """The type of matrix products: autocast's, where it is on."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def weight_gradient(grads: Tensor, inputs: Tensor) -> Tensor:
    """Σ_t grads_tᵀ inputs_t: (T, …, B, n), (T, …, B, H) -> (…, n, H)."""
    rows = [part.movedim(0, -3).flatten(-3, -2) for part in (grads, inputs.to(grads.dtype))]
    return rows[0].mT @ rows[1]


def _steps(sequences: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """Views of all steps at once: taking one slice costs as much as a small product."""
    return list(zip(*(sequence.unbind(0) for sequence in sequences), strict=True))


def _add(activation: Tensor, product: Tensor, more: Tensor | None) -> Tensor:
    """activation += product + more, in place."""
    activation.add_(product)
    return activation if more is None else activation.add_(more)


def tanh_(x: Tensor) -> Tensor:
    """tanh in place. torch's takes ten times as long as its σ on CPUs; there it is 2 σ(2x) - 1, exact to rounding."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1) if x.device.type == "cpu" else x.tanh_()


class StepKernel:
    """A cell's steps forward and back, with memory for a whole sequence.

    Forward: `begin`, then `step` for t = 0 … T - 1; `saved` is what the way back needs. Back, on an instance made anew:
    `resume`, then `back` for t = T - 1 … 0, then `gradients`.

    Everything may have one more axis before B, for as many cells (those of two directions) that step together: most of
    the time of a small step goes into starting operations, so one operation for both is half of it.

    Args:
        compute: type of matrix products.
        weight: the recurrent one, (…, G·H, H).
        biases: inside of the recurrence, (…, H).

    Attributes:
        num_states: state tensors of the cell; the first of what `saved` returns are these, (T, …, B, H) each.
    """

    num_states: ClassVar[int] = 1

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor) -> None:
        self.compute = compute
        self.w = weight.to(compute)
        self.hidden = weight.size(-1)

    def begin(self, gx: Tensor, first: State) -> None:
        """(T, …, B, G·H) of the input's part, which may be overwritten, and the state before the first step."""
        raise NotImplementedError

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        """One step: the state before -> the state after, which is also kept.

        Args:
            more: (…, B, G·H), a part of the input that is known only now.
        """
        raise NotImplementedError

    def saved(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        raise NotImplementedError

    def back(self, t: int, grads: State) -> State:
        """δ of the state after step t -> δ of the state before it; δgx_t is kept."""
        raise NotImplementedError

    def input_gradient(self, t: int) -> Tensor:
        """δgx_t (…, B, G·H) once `back` has passed t, in the type of products."""
        raise NotImplementedError

    def gradients(self) -> tuple[Tensor, ...]:
        """δgx (T, …, B, G·H) in the type of products, δ of the recurrent weight, and of each bias."""
        raise NotImplementedError

    def _like(self, states: Tensor, kind: torch.dtype | None = None, gates: int = 1) -> Tensor:
        """Room for (…, gates · H) beside (…, H)."""
        return states.new_empty(*states.shape[:-1], gates * self.hidden, dtype=kind)


class RNNSteps(StepKernel):
    """States (h); weight (H, H)."""

    def begin(self, gx: Tensor, first: State) -> None:
        self.hs = gx
        self.inputs = self._like(gx, self.compute)
        self.transposed = self.w.mT
        self.each = _steps([self.hs, self.inputs])

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        act, h = self.each[t]
        return (tanh_(_add(act, h.copy_(state[0]) @ self.transposed, more)),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.inputs

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        hs, self.inputs = saved
        self.da = self._like(hs, self.compute)
        self.each = _steps([hs, self.da])
        self.room = torch.empty_like(first[0])

    def back(self, t: int, grads: State) -> State:
        (h, da), (dh,) = self.each[t], grads
        square = torch.mul(h, h, out=self.room)
        da.copy_(torch.addcmul(dh, dh, square, value=-1, out=square))
        return ((da @ self.w).to(dh.dtype),)

    def input_gradient(self, t: int) -> Tensor:
        return self.each[t][1]

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, weight_gradient(self.da, self.inputs)


class LSTMSteps(StepKernel):
    """States (h, c); weight (4H, H)."""

    num_states = 2

    def begin(self, gx: Tensor, first: State) -> None:
        self.gates = gx
        self.hs, self.cs, self.shown = (gx.new_empty(len(gx), *first[0].shape) for _ in range(3))
        self.inputs = self._like(self.hs, self.compute)
        self.transposed = self.w.mT
        split = 3 * self.hidden
        parts = [self.gates, self.gates[..., :split], self.gates[..., split:], *self.gates.chunk(4, dim=-1)]
        self.each = _steps([*parts, self.hs, self.cs, self.shown, self.inputs])

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        gate, sigmoids, tanhs, f, i, o, candidate, h, c, shown, before = self.each[t]
        _add(gate, before.copy_(state[0]) @ self.transposed, more)
        sigmoids.sigmoid_()
        tanh_(tanhs)
        torch.mul(f, state[1], out=c).addcmul_(i, candidate)
        return torch.mul(o, tanh_(shown.copy_(c)), out=h), c

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.cs, self.shown, self.gates, self.inputs

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        _, cs, shown, gates, self.inputs = saved
        self.da = self._like(shown, self.compute, gates=4)
        parts = [gates[..., : 3 * self.hidden], *gates.chunk(4, dim=-1), shown, self.da]
        self.each = [(*views, before) for views, before in zip(_steps(parts), (first[1], *cs), strict=False)]
        self.room = torch.empty_like(first[1])
        self.grad = self._like(first[1], gates=4)
        self.grads = self.grad[..., : 3 * self.hidden], *self.grad.chunk(4, dim=-1)

    def back(self, t: int, grads: State) -> State:
        sigmoids, f, i, o, candidate, shown, da, before = self.each[t]
        da_sigmoids, da_f, da_i, da_o, da_c = self.grads
        dh, dc = grads
        through = torch.mul(shown, shown, out=self.room)
        torch.addcmul(o, o, through, value=-1, out=through)
        dc = torch.addcmul(dc, dh, through)
        torch.addcmul(sigmoids, sigmoids, sigmoids, value=-1, out=da_sigmoids)
        da_f.mul_(dc).mul_(before)
        da_i.mul_(dc).mul_(candidate)
        da_o.mul_(dh).mul_(shown)
        torch.mul(candidate, candidate, out=da_c)
        torch.addcmul(i, i, da_c, value=-1, out=da_c).mul_(dc)
        return (da.copy_(self.grad) @ self.w).to(dh.dtype), dc.mul_(f)

    def input_gradient(self, t: int) -> Tensor:
        return self.da[t]

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, weight_gradient(self.da, self.inputs)


class GRUSteps(StepKernel):
    """Reset before. States (h); weight (3H, H)."""

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor) -> None:
        super().__init__(compute, weight)
        self.w_gates, self.w_candidate = self.w[..., : 2 * self.hidden, :], self.w[..., 2 * self.hidden :, :]

    def begin(self, gx: Tensor, first: State) -> None:
        self.acts, self.hs = gx, gx.new_empty(len(gx), *first[0].shape)
        self.inputs, self.remembered = (self._like(self.hs, self.compute) for _ in range(2))
        self.to_gates, self.to_candidate = self.w_gates.mT, self.w_candidate.mT
        parts = [self.acts, self.acts[..., : 2 * self.hidden], *self.acts.chunk(3, dim=-1)]
        self.each = _steps([*parts, self.hs, self.inputs, self.remembered])

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        act, zr, z, r, candidate, new, before, remembered = self.each[t]
        (h,) = state
        if more is not None:
            act.add_(more)
        zr.add_(before.copy_(h) @ self.to_gates).sigmoid_()
        tanh_(candidate.add_(remembered.copy_(r * h) @ self.to_candidate))
        return (torch.lerp(h, candidate, z, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts, self.inputs, self.remembered

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        hs, acts, self.inputs, self.remembered = saved
        split = 2 * self.hidden
        self.da = self._like(hs, self.compute, gates=3)
        parts = [acts[..., :split], *acts.chunk(3, dim=-1), self.da[..., :split], self.da[..., split:]]
        self.each = [(*views, before) for views, before in zip(_steps(parts), (first[0], *hs), strict=False)]
        self.room = torch.empty_like(first[0])
        self.grad = self._like(first[0], gates=2)
        self.grads = self.grad.chunk(2, dim=-1)

    def back(self, t: int, grads: State) -> State:
        zr, z, r, candidate, da_zr, da_h, before = self.each[t]
        (dh,), (da_z, da_r) = grads, self.grads
        slope = torch.mul(candidate, candidate, out=self.room)
        torch.addcmul(z, z, slope, value=-1, out=slope)
        u = (da_h.copy_(slope.mul_(dh)) @ self.w_candidate).to(dh.dtype)
        torch.addcmul(zr, zr, zr, value=-1, out=self.grad)
        da_z.mul_(dh).mul_(torch.sub(candidate, before, out=self.room))
        da_r.mul_(u).mul_(before)
        kept = torch.addcmul(dh, dh, z, value=-1).addcmul_(u, r)
        return (kept.add_(da_zr.copy_(self.grad) @ self.w_gates),)

    def input_gradient(self, t: int) -> Tensor:
        return self.da[t]

    def gradients(self) -> tuple[Tensor, ...]:
        gates = weight_gradient(self.da[..., : 2 * self.hidden], self.inputs)
        candidates = weight_gradient(self.da[..., 2 * self.hidden :], self.remembered)
        return self.da, torch.cat([gates, candidates], dim=-2)


class GRUAfterSteps(StepKernel):
    """Reset after. States (h); weight (3H, H), bias b_hn (H)."""

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor) -> None:
        super().__init__(compute, weight)
        self.bias = biases[0].unsqueeze(-2)

    def begin(self, gx: Tensor, first: State) -> None:
        self.acts = gx
        self.hs, self.ms = (gx.new_empty(len(gx), *first[0].shape) for _ in range(2))
        self.inputs = self._like(self.hs, self.compute)
        self.transposed = self.w.mT
        parts = [self.acts, self.acts[..., : 2 * self.hidden], *self.acts.chunk(3, dim=-1)]
        self.each = _steps([*parts, self.ms, self.hs, self.inputs])

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        act, zr, z, r, candidate, m, new, before = self.each[t]
        (h,), split = state, 2 * self.hidden
        if more is not None:
            act.add_(more)
        gh = before.copy_(h) @ self.transposed
        zr.add_(gh[..., :split]).sigmoid_()
        torch.add(self.bias, gh[..., split:], out=m)
        tanh_(candidate.addcmul_(r, m))
        return (torch.lerp(h, candidate, z, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts, self.ms, self.inputs

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        hs, acts, ms, self.inputs = saved
        split = 2 * self.hidden
        self.dgh = self._like(hs, self.compute, gates=3)
        self.da_h = self._like(hs, self.compute)
        parts = [acts[..., :split], *acts.chunk(3, dim=-1), ms, self.dgh, self.da_h]
        self.each = [(*views, before) for views, before in zip(_steps(parts), (first[0], *hs), strict=False)]
        self.room = torch.empty_like(first[0])
        self.grad = self._like(first[0], gates=3)
        self.grads = self.grad[..., :split], *self.grad.chunk(3, dim=-1)

    def back(self, t: int, grads: State) -> State:
        zr, z, r, candidate, m, dgh, da_h, before = self.each[t]
        (dh,), (da_zr, da_z, da_r, dm) = grads, self.grads
        slope = torch.mul(candidate, candidate, out=self.room)
        through = torch.addcmul(z, z, slope, value=-1, out=slope).mul_(dh)
        da_h.copy_(through)
        torch.mul(through, r, out=dm)
        torch.addcmul(zr, zr, zr, value=-1, out=da_zr)
        da_r.mul_(through).mul_(m)
        da_z.mul_(dh).mul_(torch.sub(candidate, before, out=self.room))
        return (torch.addcmul(dh, dh, z, value=-1).add_(dgh.copy_(self.grad) @ self.w),)

    def input_gradient(self, t: int) -> Tensor:
        return torch.cat([self.dgh[t, ..., : 2 * self.hidden], self.da_h[t]], dim=-1)

    def gradients(self) -> tuple[Tensor, ...]:
        split, kind = 2 * self.hidden, self.grad.dtype
        dgx = torch.cat([self.dgh[..., :split], self.da_h], dim=-1)
        return dgx, weight_gradient(self.dgh, self.inputs), self.dgh[..., split:].sum(dim=(0, -2), dtype=kind)


class MGUSteps(StepKernel):
    """States (h); weight (2H, H)."""

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor) -> None:
        super().__init__(compute, weight)
        self.w_gate, self.w_candidate = self.w.chunk(2, dim=-2)

    def begin(self, gx: Tensor, first: State) -> None:
        self.acts, self.hs = gx, gx.new_empty(len(gx), *first[0].shape)
        self.inputs, self.remembered = (self._like(self.hs, self.compute) for _ in range(2))
        self.to_gate, self.to_candidate = self.w_gate.mT, self.w_candidate.mT
        self.each = _steps([self.acts, *self.acts.chunk(2, dim=-1), self.hs, self.inputs, self.remembered])

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        act, f, candidate, new, before, remembered = self.each[t]
        (h,) = state
        if more is not None:
            act.add_(more)
        f.add_(before.copy_(h) @ self.to_gate).sigmoid_()
        tanh_(candidate.add_(remembered.copy_(f * h) @ self.to_candidate))
        return (torch.lerp(h, candidate, f, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts, self.inputs, self.remembered

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        hs, acts, self.inputs, self.remembered = saved
        self.da = self._like(hs, self.compute, gates=2)
        parts = [*acts.chunk(2, dim=-1), *self.da.chunk(2, dim=-1)]
        self.each = [(*views, before) for views, before in zip(_steps(parts), (first[0], *hs), strict=False)]
        self.room, self.grad = (torch.empty_like(first[0]) for _ in range(2))

    def back(self, t: int, grads: State) -> State:
        f, candidate, da_f, da_h, before = self.each[t]
        (dh,) = grads
        slope = torch.mul(candidate, candidate, out=self.room)
        torch.addcmul(f, f, slope, value=-1, out=slope)
        u = (da_h.copy_(slope.mul_(dh)) @ self.w_candidate).to(dh.dtype)
        torch.sub(candidate, before, out=self.grad).mul_(dh).addcmul_(u, before)
        self.grad.mul_(torch.addcmul(f, f, f, value=-1, out=self.room))
        kept = torch.addcmul(dh, dh, f, value=-1).addcmul_(u, f)
        return (kept.add_(da_f.copy_(self.grad) @ self.w_gate),)

    def input_gradient(self, t: int) -> Tensor:
        return self.da[t]

    def gradients(self) -> tuple[Tensor, ...]:
        gate, candidate = self.da.chunk(2, dim=-1)
        parts = [weight_gradient(gate, self.inputs), weight_gradient(candidate, self.remembered)]
        return self.da, torch.cat(parts, dim=-2)


class SRUSteps(StepKernel):
    """States (h, c); weight (2H) of v_f, v_r; gx (…, 4H) of x̃, f, r, s."""

    num_states = 2

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor) -> None:
        self.compute, self.hidden = compute, weight.size(-1) // 2
        self.v = weight.unsqueeze(-2)
        self.v_f, self.v_r = self.v.chunk(2, dim=-1)

    def begin(self, gx: Tensor, first: State) -> None:
        self.acts = gx
        self.hs, self.cs = (gx.new_empty(len(gx), *first[0].shape) for _ in range(2))
        fr = self.acts[..., self.hidden : 3 * self.hidden]
        self.each = _steps([self.acts, fr, *self.acts.chunk(4, dim=-1), self.hs, self.cs])

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        act, fr, candidate, f, r, skip, h, c = self.each[t]
        if more is not None:
            act.add_(more)
        f.addcmul_(self.v_f, state[1])
        r.addcmul_(self.v_r, state[1])
        fr.sigmoid_()
        torch.lerp(candidate, state[1], f, out=c)
        return torch.lerp(skip, c, r, out=h), c

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.cs, self.acts

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        hs, cs, acts = saved
        self.da = self._like(hs, self.compute, gates=4)
        fr = acts[..., self.hidden : 3 * self.hidden]
        parts = [fr, *acts.chunk(4, dim=-1), cs, self.da]
        self.each = [(*views, before) for views, before in zip(_steps(parts), (first[1], *cs), strict=False)]
        self.grad = self._like(first[1], gates=4)
        self.grads = self.grad[..., self.hidden : 3 * self.hidden], *self.grad.chunk(4, dim=-1)
        self.room = torch.empty_like(first[1])
        self.dv = torch.zeros_like(self.v.expand(*first[1].shape[:-1], -1))

    def back(self, t: int, grads: State) -> State:
        fr, candidate, f, r, skip, c, da, before = self.each[t]
        da_fr, dcandidate, da_f, da_r, dskip = self.grads
        dh, dc = grads
        dc = torch.addcmul(dc, dh, r)
        torch.addcmul(dh, dh, r, value=-1, out=dskip)
        torch.addcmul(dc, dc, f, value=-1, out=dcandidate)
        torch.addcmul(fr, fr, fr, value=-1, out=da_fr)
        da_f.mul_(dc).mul_(torch.sub(before, candidate, out=self.room))
        da_r.mul_(dh).mul_(torch.sub(c, skip, out=self.room))
        da.copy_(self.grad)
        self.dv[..., : self.hidden].addcmul_(da_f, before)
        self.dv[..., self.hidden :].addcmul_(da_r, before)
        return torch.zeros_like(dh), dc.mul_(f).addcmul_(da_f, self.v_f).addcmul_(da_r, self.v_r)

    def input_gradient(self, t: int) -> Tensor:
        return self.da[t]

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, self.dv.sum(dim=-2)


def laid_out(gx: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """A copy of one (T, B, G·H), or of several as (T, n, B, G·H), in the type of `like`."""
    if len(gx) == 1:
        return gx[0].to(like.dtype, copy=True)
    together = like.new_empty(gx[0].size(0), len(gx), *gx[0].shape[1:])
    for part, whole in zip(gx, together.unbind(1), strict=True):
        whole.copy_(part)
    return together


class Sequence(torch.autograd.Function):
    """`Sequence.apply(kernel, n, *gx, *first state, *parameters)` -> (T, …, B, H) of each state.

    n tensors gx (T, B, G·H); with n > 1 the state and the parameters have an axis n before B.
    """

    @staticmethod
    def forward(ctx: Any, kind: type[StepKernel], n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        gx, tensors = tensors[:n], tensors[n:]
        ctx.kind, ctx.compute, ctx.types = kind, compute_type(tensors[0]), [part.dtype for part in gx]
        ctx.set_materialize_grads(False)
        first, parameters = tensors[: kind.num_states], tensors[kind.num_states :]
        kernel = kind(ctx.compute, *parameters)
        kernel.begin(laid_out(gx, first[0]), first)
        state = first
        for t in range(len(gx[0])):
            state = kernel.step(t, state)
        saved = kernel.saved()
        ctx.save_for_backward(*tensors, *saved)
        ctx.given = len(tensors)
        return saved[: kind.num_states]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        given, saved = ctx.saved_tensors[: ctx.given], ctx.saved_tensors[ctx.given :]
        first, parameters = given[: ctx.kind.num_states], given[ctx.kind.num_states :]
        kernel = ctx.kind(ctx.compute, *parameters)
        kernel.resume(first, saved)
        carried: State = tuple(torch.zeros_like(s) for s in first)
        steps = [None if g is None else g.unbind(0) for g in grads]
        for t in range(len(saved[0]) - 1, -1, -1):
            arrived = tuple(c if g is None else c + g[t] for c, g in zip(carried, steps, strict=True))
            carried = kernel.back(t, arrived)
        dgx, *others = kernel.gradients()
        parts = [dgx] if len(ctx.types) == 1 else dgx.unbind(1)
        return (
            *(None, None),
            *(part.to(kind) for part, kind in zip(parts, ctx.types, strict=True)),
            *carried,
            *(d.to(p.dtype) for d, p in zip(others, parameters, strict=True)),
        )

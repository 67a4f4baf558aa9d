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

All factors of the δ's that do not depend on δ are computed for the whole sequence at once, before the walk. Under
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


def _before(states: Tensor, first: Tensor) -> Tensor:
    """(T, …) states after each step -> states before each step."""
    return torch.cat([first.unsqueeze(0), states[:-1]])


def _steps(sequences: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """Views of all steps at once: taking one slice costs as much as a small product."""
    return list(zip(*(sequence.unbind(0) for sequence in sequences), strict=True))


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

    def _before_activation(self, part: Tensor, h: Tensor, transposed: Tensor, more: Tensor | None) -> Tensor:
        """part += h W + more, in place."""
        part.add_(h.to(self.compute) @ transposed)
        return part if more is None else part.add_(more)


class RNNSteps(StepKernel):
    """States (h); weight (H, H)."""

    def begin(self, gx: Tensor, first: State) -> None:
        self.hs = gx
        self.each = self.hs.unbind(0)
        self.transposed = self.w.mT

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        return (tanh_(self._before_activation(self.each[t], state[0], self.transposed, more)),)

    def saved(self) -> tuple[Tensor, ...]:
        return (self.hs,)

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        (self.hs,), (self.first,) = saved, first
        self.slopes = (1 - self.hs * self.hs).unbind(0)
        self.da = torch.empty(self.hs.shape, dtype=self.compute, device=self.hs.device)
        self.each = self.da.unbind(0)

    def back(self, t: int, grads: State) -> State:
        da = torch.mul(grads[0], self.slopes[t], out=self.each[t])
        return ((da @ self.w).to(grads[0].dtype),)

    def input_gradient(self, t: int) -> Tensor:
        return self.each[t]

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, weight_gradient(self.da, _before(self.hs, self.first))


class LSTMSteps(StepKernel):
    """States (h, c); weight (4H, H)."""

    num_states = 2

    def begin(self, gx: Tensor, first: State) -> None:
        self.gates = gx
        self.hs, self.cs, self.shown = (gx.new_empty(len(gx), *first[0].shape) for _ in range(3))
        self.transposed = self.w.mT
        split = 3 * self.hidden
        parts = [self.gates, self.gates[..., :split], self.gates[..., split:], *self.gates.chunk(4, dim=-1)]
        self.each = _steps([*parts, self.hs, self.cs, self.shown])

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        gate, sigmoids, tanhs, f, i, o, candidate, h, c, shown = self.each[t]
        self._before_activation(gate, state[0], self.transposed, more)
        sigmoids.sigmoid_()
        tanh_(tanhs)
        torch.mul(f, state[1], out=c).addcmul_(i, candidate)
        return torch.mul(o, tanh_(shown.copy_(c)), out=h), c

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.cs, self.shown, self.gates

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        self.hs, self.cs, shown, gates = saved
        self.first = first
        f, i, o, candidate = gates.chunk(4, dim=-1)
        slopes = gates * (1 - gates)
        df, di, do, dcandidate = slopes.chunk(4, dim=-1)
        df.mul_(_before(self.cs, first[1]))
        di.mul_(candidate)
        do.mul_(shown)
        torch.mul(i, 1 - candidate * candidate, out=dcandidate)
        self.da = torch.empty(slopes.shape, dtype=self.compute, device=gates.device)
        views = [o * (1 - shown * shown), f, self.da]
        for whole in (slopes, self.da):
            stacked = whole.view(*whole.shape[:-1], 4, self.hidden)
            views += [stacked[..., :2, :], stacked[..., 2, :], stacked[..., 3, :]]
        self.each = _steps(views)

    def back(self, t: int, grads: State) -> State:
        through, keep, da, slope_fi, slope_o, slope_c, da_fi, da_o, da_c = self.each[t]
        dh, dc = grads
        dc = torch.addcmul(dc, dh, through)
        torch.mul(slope_fi, dc.unsqueeze(-2), out=da_fi)
        torch.mul(slope_o, dh, out=da_o)
        torch.mul(slope_c, dc, out=da_c)
        return (da @ self.w).to(dh.dtype), dc.mul_(keep)

    def input_gradient(self, t: int) -> Tensor:
        return self.each[t][2]

    def gradients(self) -> tuple[Tensor, ...]:
        return self.da, weight_gradient(self.da, _before(self.hs, self.first[0]))


class GRUSteps(StepKernel):
    """Reset before. States (h); weight (3H, H)."""

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor) -> None:
        super().__init__(compute, weight)
        self.w_gates, self.w_candidate = self.w[..., : 2 * self.hidden, :], self.w[..., 2 * self.hidden :, :]

    def begin(self, gx: Tensor, first: State) -> None:
        self.acts, self.hs = gx, gx.new_empty(len(gx), *first[0].shape)
        self.to_gates, self.to_candidate = self.w_gates.mT, self.w_candidate.mT
        views = [self.acts, self.acts[..., : 2 * self.hidden], *self.acts.chunk(3, dim=-1), self.hs]
        self.each = _steps(views)

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        act, zr, z, r, candidate, new = self.each[t]
        (h,) = state
        if more is not None:
            act.add_(more)
        self._before_activation(zr, h, self.to_gates, None).sigmoid_()
        tanh_(self._before_activation(candidate, r * h, self.to_candidate, None))
        return (torch.lerp(h, candidate, z, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        self.hs, acts = saved
        z, self.r, candidate = acts.chunk(3, dim=-1)
        self.before = _before(self.hs, first[0])
        slope_h = z * (1 - candidate * candidate)
        slope_z = (candidate - self.before) * z * (1 - z)
        slope_r = self.before * self.r * (1 - self.r)
        self.da = torch.empty(acts.shape, dtype=self.compute, device=acts.device)
        views = [slope_h, slope_z, slope_r, self.r, 1 - z]
        views += [self.da, self.da[..., : 2 * self.hidden], *self.da.chunk(3, dim=-1)]
        self.each = _steps(views)

    def back(self, t: int, grads: State) -> State:
        slope_h, slope_z, slope_r, r, keep, _, da_zr, da_z, da_r, da_h = self.each[t]
        (dh,) = grads
        torch.mul(dh, slope_h, out=da_h)
        u = (da_h @ self.w_candidate).to(dh.dtype)
        torch.mul(dh, slope_z, out=da_z)
        torch.mul(u, slope_r, out=da_r)
        return (torch.addcmul(dh * keep, u, r).add_(da_zr @ self.w_gates),)

    def input_gradient(self, t: int) -> Tensor:
        return self.each[t][5]

    def gradients(self) -> tuple[Tensor, ...]:
        gates = weight_gradient(self.da[..., : 2 * self.hidden], self.before)
        candidates = weight_gradient(self.da[..., 2 * self.hidden :], self.r * self.before)
        return self.da, torch.cat([gates, candidates], dim=-2)


class GRUAfterSteps(StepKernel):
    """Reset after. States (h); weight (3H, H), bias b_hn (H)."""

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor) -> None:
        super().__init__(compute, weight)
        self.bias = biases[0].unsqueeze(-2)

    def begin(self, gx: Tensor, first: State) -> None:
        self.acts = gx
        self.hs, self.ms = (gx.new_empty(len(gx), *first[0].shape) for _ in range(2))
        self.transposed = self.w.mT
        views = [self.acts, self.acts[..., : 2 * self.hidden], *self.acts.chunk(3, dim=-1), self.ms, self.hs]
        self.each = _steps(views)

    def step(self, t: int, state: State, more: Tensor | None = None) -> State:
        act, zr, z, r, candidate, m, new = self.each[t]
        (h,), split = state, 2 * self.hidden
        if more is not None:
            act.add_(more)
        gh = h.to(self.compute) @ self.transposed
        zr.add_(gh[..., :split]).sigmoid_()
        torch.add(self.bias, gh[..., split:], out=m)
        tanh_(candidate.addcmul_(r, m))
        return (torch.lerp(h, candidate, z, out=new),)

    def saved(self) -> tuple[Tensor, ...]:
        return self.hs, self.acts, self.ms

    def resume(self, first: State, saved: tuple[Tensor, ...]) -> None:
        self.hs, acts, ms = saved
        z, r, candidate = acts.chunk(3, dim=-1)
        self.before = _before(self.hs, first[0])
        self.slope_h = z * (1 - candidate * candidate)
        slopes = [(candidate - self.before) * z * (1 - z), self.slope_h * ms * r * (1 - r), self.slope_h * r]
        self.dgh = torch.empty(acts.shape, dtype=self.compute, device=acts.device)
        self.arrived = torch.empty_like(self.hs)
        views = [
            torch.stack(slopes, dim=-2),
            1 - z,
            self.arrived,
            self.dgh,
            self.dgh.view(*self.dgh.shape[:-1], 3, self.hidden),
        ]
        self.each = _steps(views)

    def back(self, t: int, grads: State) -> State:
        slopes, keep, arrived, dgh, stacked = self.each[t]
        dh = arrived.copy_(grads[0])
        torch.mul(slopes, dh.unsqueeze(-2), out=stacked)
        return ((dh * keep).add_(dgh @ self.w),)

    def input_gradient(self, t: int) -> Tensor:
        candidate = self.arrived[t] * self.slope_h[t]
        return torch.cat([self.dgh[t, ..., : 2 * self.hidden], candidate.to(self.compute)], dim=-1)

    def gradients(self) -> tuple[Tensor, ...]:
        split, kind = 2 * self.hidden, self.hs.dtype
        dgx = torch.cat([self.dgh[..., :split], (self.arrived * self.slope_h).to(self.compute)], dim=-1)
        return dgx, weight_gradient(self.dgh, self.before), self.dgh[..., split:].sum(dim=(0, -2), dtype=kind)


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

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
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def _compute_type(like: Tensor) -> torch.dtype:
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def _before(states: Tensor, first: Tensor) -> Tensor:
    """(T, B, H) states after each step -> states before each step."""
    return torch.cat([first.unsqueeze(0), states[:-1]])


def _weight_gradient(grads: Tensor, inputs: Tensor) -> Tensor:
    """Σ_t grads_tᵀ inputs_t: (T, B, n), (T, B, H) -> (n, H)."""
    return grads.flatten(0, 1).T @ inputs.flatten(0, 1).to(grads.dtype)


class RNNSequence(torch.autograd.Function):
    """(T, B, H) gx, (H, H) weight, (B, H) h_0 -> (T, B, H) h."""

    @staticmethod
    def forward(ctx: Any, gx: Tensor, weight: Tensor, h: Tensor) -> Tensor:
        ctx.compute = _compute_type(gx)
        transposed = weight.to(ctx.compute).T
        states = torch.empty_like(gx)
        first = h
        for t, a in enumerate(gx.unbind(0)):
            h = torch.tanh(torch.add(a, h.to(ctx.compute) @ transposed), out=states[t])
        ctx.save_for_backward(states, first, weight)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, first, weight = ctx.saved_tensors
        w = weight.to(ctx.compute)
        slope = 1 - states * states
        da = torch.empty(states.shape, dtype=ctx.compute, device=states.device)
        dh = torch.zeros_like(first)
        for t in range(len(states) - 1, -1, -1):
            da[t] = (dh + grad[t]) * slope[t]
            dh = (da[t] @ w).to(dh.dtype)
        return da.to(states.dtype), _weight_gradient(da, _before(states, first)).to(weight.dtype), dh


class LSTMSequence(torch.autograd.Function):
    """(T, B, 4H) gx, (4H, H) weight, (B, H) h_0 and c_0 -> (T, B, H) h and c."""

    @staticmethod
    def forward(ctx: Any, gx: Tensor, weight: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        ctx.compute = _compute_type(gx)
        ctx.set_materialize_grads(False)
        steps, batch, hidden = len(gx), gx.size(1), h.size(1)
        transposed = weight.to(ctx.compute).T
        gates = torch.empty_like(gx)
        hs, cs, shown = (gx.new_empty(steps, batch, hidden) for _ in range(3))
        first = h, c
        for t in range(steps):
            gate = torch.add(gx[t], h.to(ctx.compute) @ transposed, out=gates[t])
            gate[:, : 3 * hidden].sigmoid_()
            gate[:, 3 * hidden :].tanh_()
            f, i, o, candidate = gate.chunk(4, dim=1)
            c = torch.mul(f, c, out=cs[t]).addcmul_(i, candidate)
            h = torch.mul(o, torch.tanh(c, out=shown[t]), out=hs[t])
        ctx.save_for_backward(gates, hs, cs, shown, *first, weight)
        return hs, cs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor | None, grad_c: Tensor | None) -> tuple[Tensor, ...]:
        gates, hs, cs, shown, h0, c0, weight = ctx.saved_tensors
        w = weight.to(ctx.compute)
        f, i, o, candidate = gates.chunk(4, dim=2)
        slopes = gates * (1 - gates)
        df, di, do, dcandidate = slopes.chunk(4, dim=2)
        df.mul_(_before(cs, c0))
        di.mul_(candidate)
        do.mul_(shown)
        torch.mul(i, 1 - candidate * candidate, out=dcandidate)
        through = o * (1 - shown * shown)
        steps, batch, hidden = hs.shape
        slopes = slopes.view(steps, batch, 4, hidden)
        da = torch.empty(gates.shape, dtype=ctx.compute, device=gates.device)
        dh, dc = torch.zeros_like(h0), torch.zeros_like(c0)
        for t in range(steps - 1, -1, -1):
            if grad_h is not None:
                dh = dh + grad_h[t]
            if grad_c is not None:
                dc = dc + grad_c[t]
            dc = torch.addcmul(dc, dh, through[t])
            step, slope = da[t].view(batch, 4, hidden), slopes[t]
            step[:, :2] = slope[:, :2] * dc.unsqueeze(1)
            step[:, 2] = slope[:, 2] * dh
            step[:, 3] = slope[:, 3] * dc
            dc = dc * f[t]
            dh = (da[t] @ w).to(dh.dtype)
        return da.to(gates.dtype), _weight_gradient(da, _before(hs, h0)).to(weight.dtype), dh, dc


class GRUSequence(torch.autograd.Function):
    """Reset before: (T, B, 3H) gx, (3H, H) weight, (B, H) h_0 -> (T, B, H) h."""

    @staticmethod
    def forward(ctx: Any, gx: Tensor, weight: Tensor, h: Tensor) -> Tensor:
        ctx.compute = _compute_type(gx)
        hidden = h.size(1)
        w = weight.to(ctx.compute)
        to_gates, to_candidate = w[: 2 * hidden].T, w[2 * hidden :].T
        acts, hs = torch.empty_like(gx), gx.new_empty(len(gx), *h.shape)
        first = h
        for t in range(len(gx)):
            act = acts[t]
            zr, candidate = act[:, : 2 * hidden], act[:, 2 * hidden :]
            torch.add(gx[t, :, : 2 * hidden], h.to(ctx.compute) @ to_gates, out=zr).sigmoid_()
            z, r = zr.chunk(2, dim=1)
            torch.add(gx[t, :, 2 * hidden :], (r * h).to(ctx.compute) @ to_candidate, out=candidate).tanh_()
            h = torch.lerp(h, candidate, z, out=hs[t])
        ctx.save_for_backward(acts, hs, first, weight)
        return hs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        acts, hs, h0, weight = ctx.saved_tensors
        hidden = h0.size(1)
        w = weight.to(ctx.compute)
        w_gates, w_candidate = w[: 2 * hidden], w[2 * hidden :]
        z, r, candidate = acts.chunk(3, dim=2)
        before = _before(hs, h0)
        slope_h = z * (1 - candidate * candidate)
        slope_z = (candidate - before) * z * (1 - z)
        slope_r = before * r * (1 - r)
        keep = 1 - z
        da = torch.empty(acts.shape, dtype=ctx.compute, device=acts.device)
        dh = torch.zeros_like(h0)
        for t in range(len(hs) - 1, -1, -1):
            dh = dh + grad[t]
            step = da[t]
            step[:, 2 * hidden :] = dh * slope_h[t]
            u = (step[:, 2 * hidden :] @ w_candidate).to(dh.dtype)
            step[:, :hidden] = dh * slope_z[t]
            step[:, hidden : 2 * hidden] = u * slope_r[t]
            dh = torch.addcmul(dh * keep[t], u, r[t]) + step[:, : 2 * hidden] @ w_gates
        gates = _weight_gradient(da[:, :, : 2 * hidden], before)
        candidates = _weight_gradient(da[:, :, 2 * hidden :], r * before)
        return da.to(acts.dtype), torch.cat([gates, candidates]).to(weight.dtype), dh


class GRUAfterSequence(torch.autograd.Function):
    """Reset after: (T, B, 3H) gx, (3H, H) weight, (H) b_hn, (B, H) h_0 -> (T, B, H) h."""

    @staticmethod
    def forward(ctx: Any, gx: Tensor, weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
        ctx.compute = _compute_type(gx)
        hidden = h.size(1)
        transposed = weight.to(ctx.compute).T
        acts, hs, ms = torch.empty_like(gx), gx.new_empty(len(gx), *h.shape), gx.new_empty(len(gx), *h.shape)
        first = h
        for t in range(len(gx)):
            act = acts[t]
            zr, candidate = act[:, : 2 * hidden], act[:, 2 * hidden :]
            gh = h.to(ctx.compute) @ transposed
            torch.add(gx[t, :, : 2 * hidden], gh[:, : 2 * hidden], out=zr).sigmoid_()
            z, r = zr.chunk(2, dim=1)
            m = torch.add(bias, gh[:, 2 * hidden :], out=ms[t])
            torch.addcmul(gx[t, :, 2 * hidden :], r, m, out=candidate).tanh_()
            h = torch.lerp(h, candidate, z, out=hs[t])
        ctx.save_for_backward(acts, hs, ms, first, weight)
        return hs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        acts, hs, ms, h0, weight = ctx.saved_tensors
        hidden = h0.size(1)
        w = weight.to(ctx.compute)
        z, r, candidate = acts.chunk(3, dim=2)
        before = _before(hs, h0)
        slope_h = z * (1 - candidate * candidate)
        slopes = torch.cat([(candidate - before) * z * (1 - z), slope_h * ms * r * (1 - r), slope_h * r], dim=2)
        keep = 1 - z
        dgh = torch.empty(acts.shape, dtype=ctx.compute, device=acts.device)
        arrived = torch.empty_like(hs)
        dh = torch.zeros_like(h0)
        for t in range(len(hs) - 1, -1, -1):
            dh = torch.add(dh, grad[t], out=arrived[t])
            dgh[t].view(len(h0), 3, hidden).copy_(slopes[t].view(len(h0), 3, hidden) * dh.unsqueeze(1))
            dh = dh * keep[t] + dgh[t] @ w
        dgx = torch.cat([dgh[:, :, : 2 * hidden].to(acts.dtype), arrived * slope_h], dim=2)
        dbias = dgh[:, :, 2 * hidden :].sum(dim=(0, 1), dtype=acts.dtype)
        return dgx, _weight_gradient(dgh, before).to(weight.dtype), dbias, dh

"""The recurrence of cells that are linear in their state, for any of them: c_t = a_t ⊙ c_{t-1} + b_t.

a and b depend on the input alone, so they are computed for all steps at once, and autograd differentiates them. With
δc_t for the gradient that reaches c_t from outside of the recurrence,

    δb_t = δc_t + a_{t+1} ⊙ δb_{t+1},    δa_t = δb_t ⊙ c_{t-1},    δc_0 = a_1 ⊙ δb_1

The backward pass is the same recurrence in reverse. Both run as a loop over time, a fused multiply-add each step, or as
a scan: composing two steps gives one of the same form, (a', b') ∘ (a, b) = (a' ⊙ a, a' ⊙ b + b'), so after round n each
position holds the composition of 2ⁿ steps, and ⌈log₂ T⌉ rounds give all states (Hillis & Steele 1986). A scan does more
work than a loop, T log T, with fewer operations one after the other, which suits a GPU.

Shapes: N rows of all steps (`s2s.nn.packing`), B_0 rows of the first step, T steps, H hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s.nn.kernels.function import Function
from s2s.nn.kernels.stepping import split_steps, split_with_previous
from s2s.nn.packing import to_device


class LinearRecurrence(Function):
    """`LinearRecurrence.apply(a, b, initial, batch_sizes, scan)`, all (N, H), the initial state (B_0, H).

    Returns:
        (N, H) the states after each step.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, initial: Tensor, batch_sizes: list[int], scan: bool) -> Tensor:
        ctx.batch_sizes, ctx.scan = batch_sizes, scan
        c = b.clone()
        first = batch_sizes[0]
        c[:first].addcmul_(a[:first], initial)
        if scan:
            c = _scanned(a, c, batch_sizes)
        else:
            old = c[:first]
            for a_t, c_t in split_steps(batch_sizes, a, c)[1:]:
                old = c_t.addcmul_(a_t, old[: len(a_t)])
        ctx.save_for_backward(a, initial, c)
        return c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, initial, c = ctx.saved_tensors
        sizes: list[int] = ctx.batch_sizes
        first = sizes[0]
        if ctx.scan:
            db = _scanned(a, grad, sizes, reverse=True)
        else:
            db = grad.clone()
            steps = split_steps(sizes, a, db)
            for (a_t, db_t), (_, before) in zip(steps[:0:-1], steps[-2::-1], strict=True):
                before[: len(a_t)].addcmul_(a_t, db_t)
        previous = torch.cat([old for _, old in split_with_previous(sizes, initial, c, c)])
        return db * previous, db, a[:first] * db[:first], None, None


def _scanned(a: Tensor, b: Tensor, batch_sizes: list[int], reverse: bool = False) -> Tensor:
    """All states (N, H) of c_t = a_t ⊙ c_{t-1} + b_t from c_0 = 0; in reverse, of c_t = a_{t+1} ⊙ c_{t+1} + b_t."""
    steps, width = len(batch_sizes), batch_sizes[0]
    even = len(a) == steps * width
    if not even:  # sentences that have ended have rows of zeros
        read = np.arange(width) < np.array(batch_sizes)[:, None]
        (rows,) = to_device([np.flatnonzero(read)], a.device)
        a, b = (x.new_zeros(steps * width, x.size(1)).index_copy(0, rows, x) for x in (a, b))
    a, b = a.view(steps, width, -1), b.view(steps, width, -1)
    if reverse:
        a, b = torch.cat([torch.zeros_like(a[:1]), a.flip(0)[:-1]]), b.flip(0)
    distance = 1
    while distance < steps:
        b = torch.cat([b[:distance], torch.addcmul(b[distance:], a[distance:], b[:-distance])])
        a = torch.cat([a[:distance], a[distance:] * a[:-distance]])
        distance *= 2
    states = (b.flip(0) if reverse else b).reshape(steps * width, -1)
    return states if even else states.index_select(0, rows)

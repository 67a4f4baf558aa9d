"""Dropout (Srivastava et al. 2014) with cheap random numbers.

On a CPU, torch's dropout spends most of its time drawing one random float for each element. A decision needs no more
than a byte: one 64-bit draw serves eight elements. The rate is therefore a multiple of 1/256; what is kept is scaled by
the rate that was really used, so that expectations are exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s2s import devices
from s2s.nn.kernels.function import Function


class _Masked(Function):
    """x · kept · scale, where kept (of x's type) is 0 or 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return (x * kept).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (grad * kept).mul_(ctx.scale), None, None


class Dropout(nn.Module):
    """Sets elements to 0 with probability `rate` in training and scales the others up; the identity in evaluation."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.threshold = round(256 * rate)  # of the 256 values of a byte, so many mean 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.threshold == 0:
            return x
        if devices.on_gpu(x):
            return nn.functional.dropout(x, self.rate)  # random numbers are cheap there, and fused
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64)
        words.random_(torch.iinfo(torch.int64).min, None)
        drawn = words.view(torch.uint8)[: x.numel()].view(x.shape)
        # 0 below the threshold, 1 from it on; torch compares bytes, and converts what it compared, ten times as slowly.
        kept = drawn.clamp_(self.threshold - 1, self.threshold).sub_(self.threshold - 1).to(x.dtype)
        return _Masked.apply(x, kept, 256 / (256 - self.threshold))  # type: ignore[no-untyped-call, no-any-return]

    def extra_repr(self) -> str:
        return f"rate={self.rate}"

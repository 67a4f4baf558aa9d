"""Dropout (Srivastava et al. 2014) with cheap random numbers.

On a CPU, torch's dropout spends most of its time drawing one random float per element. One byte is enough, so a 64-bit
draw serves eight elements. The rate is therefore rounded to a multiple of 1/256; the scale uses the rounded rate, so
expectations are exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s2s import devices
from s2s.nn.kernels.function import Function


class _Masked(Function):
    """x · mask · scale, where mask (of x's dtype) is 0 or 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return (x * mask).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return (grad * mask).mul_(ctx.scale), None, None


class Dropout(nn.Module):
    """Sets elements to 0 with probability `rate` in training and scales the others up; the identity in evaluation."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.threshold = min(round(256 * rate), 255)  # the number of a byte's 256 values that mean 0; never all

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.threshold == 0:
            return x
        if devices.on_gpu(x):
            return nn.functional.dropout(x, self.rate)  # cheap and fused there
        draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64)
        draws.random_(torch.iinfo(torch.int64).min, None)
        random_bytes = draws.view(torch.uint8)[: x.numel()].view(x.shape)
        # 0 below the threshold, else 1. A comparison of bytes and the conversion of its result are ten times as slow.
        mask = random_bytes.clamp_(self.threshold - 1, self.threshold).sub_(self.threshold - 1).to(x.dtype)
        return _Masked.apply(x, mask, 256 / (256 - self.threshold))  # type: ignore[no-untyped-call, no-any-return]

    def extra_repr(self) -> str:
        return f"rate={self.rate}"

"""Base class of all autograd functions in s2s, which choose the dtype of each multiplication themselves.

Autocast casts by lists of operations, and CUDA's differ from the CPU's: the product of an fp32 matrix and an fp32
vector is bf16 on CUDA and fp32 on a CPU. A function that casts its operands itself would see them cast a second time,
differently on each device. It therefore takes its compute dtype as an argument (`compute_dtype` at the call site) and
runs with autocast off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


class Function(torch.autograd.Function):
    """An autograd function whose forward and backward passes run with autocast off."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in {"forward", "backward"} & set(vars(cls)):
            setattr(cls, name, staticmethod(_without_autocast(vars(cls)[name].__func__)))


def _without_autocast(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(ctx: Any, *args: Any) -> Any:
        device = next((arg.device.type for arg in args if isinstance(arg, Tensor)), None)
        if device is None or not torch.is_autocast_enabled(device):
            return function(ctx, *args)
        with torch.autocast(device, enabled=False):
            return function(ctx, *args)

    return run


def compute_dtype(like: Tensor) -> torch.dtype:
    """The dtype of matrix multiplications: autocast's if it is on, else that of `like`."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype

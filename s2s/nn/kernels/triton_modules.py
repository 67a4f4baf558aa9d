"""Access to the modules of Triton kernels, which stand in for torch's functions on GPUs that can run them."""

from __future__ import annotations

import logging
import math
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

log = logging.getLogger(__name__)


def triton_module(name: str, like: Tensor) -> ModuleType | None:
    """Returns a module of kernels for tensors on the device of `like`; None where torch's functions are to be used.

    These compute on CPUs, on numbers of 64 bits and on tensors without numbers (FakeTensorMode), and where Triton is
    missing, does not run (it needs a C compiler) or computes something else.

    Args:
        name: in this package, `triton_…`; it has a function `probe(device)` that tries each of its kernels.
    """
    if type(like) is not Tensor or not like.is_cuda or like.dtype == torch.float64:
        return None
    return _load(name, like.device)


@cache
def _load(name: str, device: torch.device) -> ModuleType | None:
    try:
        module = import_module(f"s2s.nn.kernels.{name}")
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            module.probe(device)
    except Exception as error:  # Triton, the compilers and the driver each have errors of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("kernels of %s are off, and training is slower: %s", name, reason)
        return None
    return module


def numbers(*shape: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers between -2 and 2 without a pattern, for a probe; random ones would change those of a run."""
    return (2 * torch.arange(1.0, math.prod(shape) + 1, device=device).sin()).view(shape).to(dtype)


def compare(what: str, found: Tensor, expected: Tensor) -> None:
    """Raises ArithmeticError if a kernel's result differs from that of torch's functions by more than rounding."""
    error = (found.float() - expected.float()).norm() / expected.float().norm()
    if not error < 0.02:  # the results may be bf16 numbers, or those of TF32
        raise ArithmeticError(f"its {what} differ from those of torch's functions by {error:.0e}")

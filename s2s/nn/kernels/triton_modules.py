"""Access to the modules of Triton kernels, which stand in for torch's functions on GPUs that can run them."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

log = logging.getLogger(__name__)


def triton_module(name: str, like: Tensor) -> ModuleType | None:
    """Returns a module of kernels for tensors on the device of `like`; None where torch's functions are to be used.

    These compute on CPUs, on numbers of 64 bits and on tensors without numbers (FakeTensorMode), and where Triton is
    missing or does not run: it needs a C compiler.

    Args:
        name: in this package, `triton_…`; it has a function `probe(device)` that runs each of its kernels.
    """
    if type(like) is not Tensor or not like.is_cuda or like.dtype == torch.float64:
        return None
    return _load(name, like.device)


@cache
def _load(name: str, device: torch.device) -> ModuleType | None:
    try:
        module = import_module(f"s2s.nn.kernels.{name}")
        with torch.no_grad():
            module.probe(device)
    except Exception as error:  # Triton, the compilers and the driver each have errors of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("kernels of %s are off, and training is slower: %s", name, reason)
        return None
    return module

"""Which processor a model runs on."""

from __future__ import annotations

import os

import torch

from s2s.errors import S2SError


def pick_device(name: str) -> torch.device:
    """`auto` is the first GPU, or the CPU where there is none; under `torchrun`, the GPU of this process.

    Raises:
        S2SError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise S2SError(f"config: device={name} is not usable here ({reason}); try device=auto") from error
    return device

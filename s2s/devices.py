"""Devices: selection, numerics, threads and memory."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from s2s.errors import S2SError

log = logging.getLogger(__name__)


def pick_device(name: str) -> torch.device:
    """Returns the device of this name: `auto` is the first GPU or else the CPU; `torchrun` assigns each process a GPU.

    Raises:
        S2SError: the device is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it has no numbers")
        torch.empty(0, device=device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise S2SError(f"config: device={name} is not usable here ({reason}); try device=auto") from error
    return device


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether GPU code paths are used for this tensor."""
    return tensor.device.type != "cpu"


def set_arithmetic(device: torch.device, deterministic: bool, tf32: bool) -> None:
    """Configures the numerics of a GPU in this process, before its first computation; no effect on a CPU.

    Args:
        deterministic: the same operations on the same numbers give the same bits. This replaces kernels whose order of
            additions changes between runs, or in cuBLAS with concurrent work, by slower ones.
        tf32: fp32 matrix multiplications read their operands with 10 instead of 23 bits of mantissa.
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    if tf32:
        log.info("tf32=true: fp32 matrix multiplications have 10 bits of mantissa")
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.backends.cudnn.benchmark = False
        # No code here reads uninitialised memory.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        log.info("deterministic=true: repetitions give the same bits, at some cost")
    torch.use_deterministic_algorithms(deterministic)


def jobs_at_once(device: torch.device, jobs: int) -> int:
    """Returns how many of `jobs` run in parallel: one per CPU core, or one if they would share a GPU."""
    return min(jobs, torch.get_num_threads()) if device.type == "cpu" else 1


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Context manager: torch computes with `count` threads, at least one."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Tells glibc malloc not to return freed memory to the operating system; no effect with another C library.

    By default glibc maps each tensor of some megabytes anew and unmaps it when it is freed, and the system zeroes every
    page on first touch: up to a tenth of the time of a training step on a CPU. Memory that is free at the time of this
    call is returned, because reading a corpus may need more than training.
    """
    trim_threshold, mmap_threshold = -1, -3  # parameter numbers of mallopt
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, TypeError, AttributeError):
        return
    trim(0)
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)


def peak_memory(device: torch.device) -> float | None:
    """Returns this process's peak memory in MiB: torch's allocations on a GPU, else the resident memory.

    None if the system does not report it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024  # bytes there, KiB elsewhere

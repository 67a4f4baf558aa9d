"""Which processor a model runs on, and its memory."""

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


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether the ways of a GPU are taken for this tensor, where they are not those of a CPU."""
    return tensor.device.type != "cpu"


def set_arithmetic(device: torch.device, deterministic: bool, tf32: bool) -> None:
    """How a GPU computes in this process from now on; call it before the first computation. Nothing on a CPU.

    Args:
        deterministic: the same operations on the same numbers give the same bits. Some kernels add in an order that
            changes from run to run, and cuBLAS in one that depends on what else runs; others take their place, which
            costs time.
        tf32: fp32 matrix multiplications read their operands with 10 bits of mantissa in place of 23.
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
        # Nothing here reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        log.info("deterministic=true: repetitions give the same bits, at some cost")
    torch.use_deterministic_algorithms(deterministic)


def jobs_at_once(device: torch.device, jobs: int) -> int:
    """How many of `jobs` to run at a time: one for each core, or one where they would share a GPU."""
    return min(jobs, torch.get_num_threads()) if device.type == "cpu" else 1


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """torch computes with so many threads in the block, at least one."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Has the C library keep the memory of freed tensors for the next ones, where it is glibc; elsewhere nothing.

    glibc maps each tensor of some megabytes anew and hands it back to the system, which zeroes every page on its first
    touch: up to a tenth of the time of a training step on a CPU. What is free at the time of this call is handed back:
    reading a corpus may have needed more than training will.
    """
    trim_threshold, mmap_threshold = -1, -3  # numbers of mallopt's parameters
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, TypeError, AttributeError):
        return
    trim(0)
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)


def peak_memory(device: torch.device) -> float | None:
    """MiB that this process has had at most: on a GPU what torch allocated there, else its resident memory.

    None where the system does not say.
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
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 1024  # bytes there, KiB elsewhere

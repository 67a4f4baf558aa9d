"""Facts about the machine, and timing of interleaved functions."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from s2s.version import __version__

K = TypeVar("K")
Done = Callable[[], object]  # called after each call of a measured function, for a progress bar


def facts(device: torch.device) -> dict[str, Any]:
    """Returns the facts that a reader of the numbers needs."""
    flags = set(_cpuinfo("flags", "Features").split())
    return {
        "s2s": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _cpuinfo("model name") or "unknown",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16_instructions": sorted({"avx512_bf16", "amx_bf16", "bf16"} & flags),
        "int8_instructions": sorted({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"} & flags),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def free_memory() -> float | None:
    """Returns the MiB that new processes can use now without swapping; None if the system does not report it."""
    free = [int(line.split()[1]) / 1024 for line in system_file("/proc/meminfo") if line.startswith("MemAvailable")]
    limit, used = (system_file(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))  # of a container
    if limit and used and limit[0] != "max":
        free.append((int(limit[0]) - int(used[0])) / 2**20)
    return min(free, default=None)


def _cpuinfo(*fields: str) -> str:
    """Returns the value of the first of these fields in /proc/cpuinfo, or ""."""
    return next((line.split(":")[1].strip() for line in system_file("/proc/cpuinfo") if line.startswith(fields)), "")


def system_file(name: str) -> list[str]:
    """Returns the lines of a file below /proc or /sys, none if the system does not have it."""
    path = Path(name)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def in_turns(runs: Mapping[K, Callable[[], float]], repetitions: int, done: Done) -> dict[K, list[float]]:
    """Returns the results of each run's calls, interleaved: a disturbance of the machine affects all runs alike."""
    results: dict[K, list[float]] = {key: [] for key in runs}
    for _ in range(repetitions):
        for key, run in runs.items():
            results[key].append(run())
            done()
    return results


def medians(
    runs: Mapping[str, Callable[[], object]], repetitions: int, device: torch.device, done: Done
) -> dict[str, float]:
    """Returns the median seconds of `repetitions` calls of each run, after a warm-up call; `device` is synchronised."""

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def seconds(run: Callable[[], object]) -> float:
        synchronize()
        start = time.perf_counter()
        run()
        synchronize()
        return time.perf_counter() - start

    times = in_turns({name: partial(seconds, run) for name, run in runs.items()}, repetitions + 1, done)
    return {name: statistics.median(calls[1:]) for name, calls in times.items()}


def gemm_rate(rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device) -> float:
    """Returns the operations a second of the GEMM (rows, inner) × (inner, columns); int8 accumulates in int32."""
    a, b = torch.randn(rows, inner).to(device, dtype), torch.randn(inner, columns).to(device, dtype)
    multiply = torch._int_mm if dtype == torch.int8 else torch.matmul
    seconds = medians({"gemm": lambda: multiply(a, b)}, 15, device, lambda: None)["gemm"]
    return 2 * rows * inner * columns / seconds

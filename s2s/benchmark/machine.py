"""The machine that a measurement was made on, and how times are taken."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from s2s.version import __version__


def facts(device: torch.device) -> dict[str, Any]:
    """What a reader of the numbers has to know."""
    return {
        "s2s": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16_instructions": _flags({"avx512_bf16", "amx_bf16", "bf16"}),
        "int8_instructions": _flags({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def free_memory() -> float | None:
    """MiB that new processes can have without swapping, now; None where the system does not say."""
    found = [int(line.split()[1]) / 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable")]
    most, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")  # a container's limit
    if most and used and most[0] != "max":
        found.append((int(most[0]) - int(used[0])) / 2**20)
    return min(found, default=None)


def _processor() -> str:
    return next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown")


def _flags(wanted: set[str]) -> list[str]:
    found = next((line.split(":")[1].split() for line in _cpuinfo() if line.startswith(("flags", "Features"))), [])
    return sorted(wanted & set(found))


def _cpuinfo() -> list[str]:
    return _lines("/proc/cpuinfo")


def _lines(name: str) -> list[str]:
    path = Path(name)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def medians(
    runs: Mapping[str, Callable[[], object]], repetitions: int, device: torch.device, done: Callable[[], object]
) -> dict[str, float]:
    """Median seconds of each run; they take turns, so that what disturbs the machine disturbs all alike.

    Args:
        runs: by name; each is called once before it is measured.
        repetitions: measured calls of each.
        device: is waited for.
        done: called after each call.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            _wait(device)
            before = time.perf_counter()
            run()
            _wait(device)
            if repetition > 0:
                times[name].append(time.perf_counter() - before)
            done()
    return {name: statistics.median(taken) for name, taken in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(rows: int, inner: int, columns: int, kind: torch.dtype, device: torch.device) -> float:
    """Operations a second of the matrix product (rows, inner) × (inner, columns); of bytes it is the one into int32."""
    a, b = torch.randn(rows, inner).to(device, kind), torch.randn(inner, columns).to(device, kind)
    product = torch._int_mm if kind == torch.int8 else torch.matmul
    seconds = medians({"product": lambda: product(a, b)}, 15, device, lambda: None)["product"]
    return 2 * rows * inner * columns / seconds

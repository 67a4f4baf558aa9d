from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from s2s.devices import keep_freed_memory, peak_memory, pick_device, set_arithmetic
from s2s.errors import S2SError


def test_auto_is_the_available_device() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["warp", "cuda:99", "cpu:cpu", ""])
def test_a_missing_device_is_one_line(name: str) -> None:
    with pytest.raises(S2SError, match=rf"device={name} is not usable here \(.*\); try device=auto") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("deterministic", "tf32"), [(True, False), (False, True)])
def test_arithmetic_of_a_gpu(deterministic: bool, tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of torch; on a CPU they are unchanged."""
    calls: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", calls.append)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        set_arithmetic(torch.device("cpu"), deterministic, tf32)
        assert calls == []
        set_arithmetic(torch.device("cuda"), deterministic, tf32)
        assert [backend.allow_tf32 for backend in backends] == [tf32, tf32]
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value
    assert calls == [deterministic]
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic


def test_freed_memory_is_kept_by_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters: dict[int, int] = {}
    trims: list[int] = []
    library = SimpleNamespace(mallopt=parameters.__setitem__, malloc_trim=trims.append)
    monkeypatch.setattr("ctypes.CDLL", lambda _: library)
    keep_freed_memory()
    assert trims == [0]
    assert parameters[-3] >= 1 << 28  # M_MMAP_THRESHOLD: larger than any tensor of a step
    assert parameters[-1] > parameters[-3]  # M_TRIM_THRESHOLD
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace())
    keep_freed_memory()


def test_peak_memory_remains_after_memory_is_freed() -> None:
    cpu = torch.device("cpu")
    before = peak_memory(cpu)
    if before is None:
        pytest.skip("this system does not report it")
    size = int((before - resident_memory() + 64) * 2**20)
    with mmap.mmap(-1, size) as block:  # not from the C library, which may have freed memory left
        for start in range(0, size, mmap.PAGESIZE):
            block[start] = 1
    peak = peak_memory(cpu)
    assert peak is not None
    assert peak > before + 30
    if torch.cuda.is_available():
        tensor = torch.zeros(2**22, device="cuda")
        del tensor
        assert peak_memory(torch.device("cuda")) >= 16  # type: ignore[operator]


def resident_memory() -> float:
    """Returns the current resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_peak_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=3 * 2**20))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert peak_memory(torch.device("cpu")) == 3 * 2**10
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_memory(torch.device("cpu")) == 3
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory(torch.device("cpu")) is None

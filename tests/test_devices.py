from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from s2s.devices import keep_freed_memory, pick_device
from s2s.errors import S2SError


def test_auto_takes_what_there_is() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["warp", "cuda:99", "cpu:cpu", ""])
def test_what_there_is_not_is_one_line(name: str) -> None:
    with pytest.raises(S2SError, match=rf"device={name} is not usable here \(.*\); try device=auto") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    handed_back: list[int] = []
    library = SimpleNamespace(mallopt=lambda *pair: asked.append(pair), malloc_trim=handed_back.append)
    monkeypatch.setattr("ctypes.CDLL", lambda _: library)
    keep_freed_memory()
    assert handed_back == [0]
    assert dict(asked)[-3] >= 1 << 28  # M_MMAP_THRESHOLD: larger than any tensor of a step
    assert dict(asked)[-1] > dict(asked)[-3]  # M_TRIM_THRESHOLD
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace())
    keep_freed_memory()

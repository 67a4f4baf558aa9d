from __future__ import annotations

from collections.abc import Iterator

import pytest

from s2s.devices import cpu_threads


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with cpu_threads(1):
        yield

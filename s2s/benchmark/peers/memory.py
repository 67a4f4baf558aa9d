"""How much memory a process takes. It imports nothing, so that it runs in any environment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

STATUS = Path("/proc/self/status")
INTERVAL = 0.005  # seconds between two looks


def anonymous_memory() -> float:
    """MiB of this process's own memory, files that are mapped not counted; 0 where the system does not say."""
    for line in STATUS.read_text().splitlines() if STATUS.exists() else []:
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


def peak_memory(run: Callable[[], object], before: float) -> float | None:
    """MiB of this process's own memory while `run` runs, at most, less `before`; None where the system does not say.

    The kernel keeps no record of the most *anonymous* memory, so a thread looks every few milliseconds.
    """
    if not STATUS.exists():
        return None
    seen, over = [anonymous_memory()], threading.Event()

    def look() -> None:
        while not over.wait(INTERVAL):
            seen.append(anonymous_memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        run()
    finally:
        over.set()
        thread.join()
    return max(*seen, anonymous_memory()) - before

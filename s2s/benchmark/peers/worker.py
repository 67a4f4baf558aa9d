"""Worker process in a peer's environment: builds a model, then makes a pass over the batches per line on stdin.

    python worker.py MODULE SPEC.json BATCHES.npz

The line names the quantity to measure: `seconds`, `memory` (the peak during the pass), and of s2s alone `operations`
(of the matrix multiplications) and `profile` (the operations that take most time). Each answer is a line of JSON on
stdout; the peer's own output goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STATUS = Path("/proc/self/status")
INTERVAL = 0.005  # seconds between two samples of the memory


def anonymous_memory() -> float:
    """Returns the MiB of this process's own memory, without mapped files; 0 if the system does not report it."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def peak_memory(run: Callable[[], object], baseline: float, device: str = "cpu") -> float | None:
    """Returns the peak MiB of a pass: torch's allocations on a GPU, else the process's memory less `baseline`.

    On a GPU it is that of the passes so far, as a CUDA graph allocates only when it is captured. A thread samples the
    memory of a process, as the kernel keeps no record of peak *anonymous* memory. None if the system does
    not report it.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    if not STATUS.exists():
        return None
    samples, finished = [anonymous_memory()], threading.Event()

    def sample() -> None:
        while not finished.wait(INTERVAL):
            samples.append(anonymous_memory())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        run()
    finally:
        finished.set()
        thread.join()
    return max(*samples, anonymous_memory()) - baseline


def read_batches(path: str) -> list[dict[str, Any]]:
    """Returns the arrays of each batch by name, from names such as `3.source`."""
    batches: dict[int, dict[str, Any]] = {}
    with np.load(path) as file:
        for name in file.files:
            number, key = name.split(".")
            batches.setdefault(int(number), {})[key] = file[name]
    return [batches[number] for number in sorted(batches)]


def main() -> None:
    module, spec_path, batches_path = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spec = json.loads(Path(spec_path).read_text())
    peer = importlib.import_module(module)  # from this script's folder
    baseline = anonymous_memory()
    make_pass, facts = getattr(peer, spec["task"])(spec, read_batches(batches_path))

    def run() -> None:
        make_pass()
        if spec["device"].startswith("cuda"):
            import torch

            torch.cuda.synchronize(spec["device"])

    run()  # warm-up: the first pass allocates and compiles
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            answer = {"memory": peak_memory(run, baseline, spec["device"])}
        elif line.strip() == "operations":
            answer = {"operations": peer.operations(run)}
        elif line.strip() == "profile":
            answer = {"profile": peer.profile(run)}
        else:
            start = time.perf_counter()
            run()
            answer = {"seconds": time.perf_counter() - start}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

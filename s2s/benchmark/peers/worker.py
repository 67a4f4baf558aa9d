"""Inside of a peer's environment: builds a model, then does one pass over the batches for each line on stdin.

    python worker.py MODULE.py SPEC.json BATCHES.npz

The line says what to measure: `seconds`; `memory`, at its most during the pass; or the `operations` of its products
(s2s only). Each answer is a line of JSON on
stdout; what the peer prints goes to stderr.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from memory import anonymous_memory, peak_memory  # type: ignore[import-not-found]  # of this folder


def read_batches(path: str) -> list[dict[str, Any]]:
    """Arrays by name for each batch, from names such as `3.source`."""
    batches: dict[int, dict[str, Any]] = {}
    with np.load(path) as file:
        for name in file.files:
            number, key = name.split(".")
            batches.setdefault(int(number), {})[key] = file[name]
    return [batches[number] for number in sorted(batches)]


def most(run: Callable[[], object], before: float, device: str) -> float | None:
    """MiB at most during a pass: of a GPU, what torch had given out there; else the process's own, less `before`."""
    if not device.startswith("cuda"):
        return peak_memory(run, before)  # type: ignore[no-any-return]
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) / 2**20


def main() -> None:
    module_path, spec_path, batches_path = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    given = json.loads(Path(spec_path).read_text())
    description = importlib.util.spec_from_file_location("peer", module_path)
    assert description is not None
    assert description.loader is not None
    peer = importlib.util.module_from_spec(description)
    sys.modules["peer"] = peer
    description.loader.exec_module(peer)
    before = anonymous_memory()
    run, facts = getattr(peer, given["task"])(given, read_batches(batches_path))
    run()  # the first pass allocates, and compiles what there is to compile
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            answer = {"memory": most(run, before, given["device"])}
        elif line.strip() == "operations":
            answer = {"operations": peer.operations(run)}
        else:
            begun = time.perf_counter()
            run()
            answer = {"seconds": time.perf_counter() - begun}
        print(json.dumps(answer), file=answers, flush=True)


main()

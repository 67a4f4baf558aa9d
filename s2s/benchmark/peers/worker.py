"""Inside of a peer's environment: builds a model, then times one pass over the batches for each line on stdin.

    python worker.py MODULE.py SPEC.json BATCHES.npz

Each answer is a line of JSON on stdout; what the peer prints goes to stderr.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def read_batches(path: str) -> list[dict[str, Any]]:
    """Arrays by name for each batch, from names such as `3.source`."""
    batches: dict[int, dict[str, Any]] = {}
    with np.load(path) as file:
        for name in file.files:
            number, key = name.split(".")
            batches.setdefault(int(number), {})[key] = file[name]
    return [batches[number] for number in sorted(batches)]


def anonymous_memory() -> float:
    """MiB of this process's own memory, files that are mapped not counted."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


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
    run, facts = getattr(peer, given["task"])(given, read_batches(batches_path))
    run()  # the first pass allocates, and compiles what there is to compile
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        before = time.perf_counter()
        run()
        seconds = time.perf_counter() - before
        print(json.dumps({"seconds": seconds, "memory": anonymous_memory()}), file=answers, flush=True)


main()

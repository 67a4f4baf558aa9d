"""`scripts/benchmark.py`: how fast it is, on this machine, against what."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig
from tqdm import tqdm

from s2s.benchmark import cells
from s2s.benchmark.machine import facts
from s2s.commands.console import plain
from s2s.config import PositiveInt, build, check_call, raise_all
from s2s.devices import keep_freed_memory, pick_device
from s2s.evaluation.report.table import align
from s2s.files import write_json

log = logging.getLogger(__name__)


def options(
    *, task: Literal["cells"], cells: dict[str, Any], repetitions: PositiveInt, device: str, output: str | None
) -> None:
    """The schema of conf/benchmark.yaml; see there for the meaning."""


def benchmark(config: DictConfig) -> None:
    """Measures; the table goes to stdout, all numbers with the machine's facts to `output`."""
    values = plain(config)
    raise_all(check_call(options, values, "") or check_call(cells.CellsConfig, values["cells"], "cells"))
    wanted = build(cells.CellsConfig, values["cells"])
    device = pick_device(values["device"])
    keep_freed_memory()
    machine = facts(device)
    log.info("%s, %d threads, torch %s", machine["processor"], machine["threads"], machine["torch"])
    total = cells.count_runs(wanted, values["repetitions"], device)
    with tqdm(total=total, desc="cells", unit=" runs", disable=None) as bar:
        rows = cells.measure(wanted, values["repetitions"], device, bar.update)
    if values["output"] is not None:
        write_json(Path(values["output"]), {"config": values, "machine": machine, "rows": rows})
    sys.stdout.write(align(cells.table(rows)) + "\n")

"""`task=gpu`: all that there is to know about s2s on a GPU, in one command of at most 25 minutes.

Six parts, each in processes of its own and written as soon as it is there, so that neither an error nor the end of the
time takes what was measured before:

- `models`: every model trains some updates by `train.py`, as CUDA graphs and step by step, is validated, and translates
  by `translate.py`; then the tests marked `gpu`;
- `train`: target tokens a second, share of the measured rate of matrix multiplications, and memory, at batches that
  grow until the card is full, beside the same models written plainly with torch's modules;
- `cells`: every cell by every backend and layout, beside cuDNN by torch's modules;
- `decode`: sentences a second, greedy and by beam, at several batch sizes, as CUDA graphs and step by step;
- `compare`: README's first command, until its first and its last page;
- `deterministic`: whether repetitions and resumed runs have the same bits, with `deterministic=true` and without, and
  what that costs.

On a CPU the same parts run at a toy size, which shows that the command works.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from s2s.benchmark import cells
from s2s.benchmark.against import RecurrentShape, TransformerShape
from s2s.benchmark.cells import CellsConfig
from s2s.benchmark.machine import product_rate
from s2s.benchmark.programs import Arrays, Program, write_batches
from s2s.data.subwords import BOS, EOS
from s2s.errors import S2SError
from s2s.schema import NonNegativeInt, PositiveInt

log = logging.getLogger(__name__)

Row = dict[str, Any]
Part = Literal["models", "train", "cells", "decode", "compare", "deterministic"]

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"
NAMES = ("model", "program")
WHAT = (
    *NAMES,
    "batch_tokens",
    "beam",
    "batch",
    "graphs",
    "cuda_graphs",
    "deterministic",
)  # of a row; the rest: numbers
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class GpuConfig:
    """What `task=gpu` measures; see conf/benchmark.yaml."""

    parts: list[Part]
    models: list[str]
    small: list[str]
    lines: PositiveInt
    tests: bool
    shapes: dict[str, RecurrentShape | TransformerShape]
    precision: Literal["fp32", "bf16"]
    vocabulary: PositiveInt
    longest: PositiveInt
    batch_tokens: list[PositiveInt]
    batches: PositiveInt
    matmul: PositiveInt
    cells: CellsConfig
    decode_batch: list[PositiveInt]
    decode_batches: PositiveInt
    beam: list[PositiveInt]
    compare: list[str]
    deterministic: list[str]
    seconds: NonNegativeInt


@dataclass(frozen=True)
class Bench:
    """Where and how the parts run.

    Attributes:
        more: sections of the configuration that the programs take.
        folder: for what is thrown away.
        until: when the time is over, of `time.monotonic`.
    """

    config: GpuConfig
    more: Mapping[str, Any]
    device: torch.device
    repetitions: int
    folder: Path
    until: float

    @property
    def left(self) -> float:
        """Seconds."""
        return max(1.0, self.until - time.monotonic())


def measure(
    config: GpuConfig,
    more: Mapping[str, Any],
    device: torch.device,
    repetitions: int,
    keep: Callable[[Part, list[Row], str | None], object],
    done: Callable[[], object],
) -> dict[str, list[Row]]:
    """All parts, one after the other.

    Args:
        more: `training`, `optim` and `decoding`, as the programs take them.
        keep: called with each part's rows as they come, and with what ended it early.
        done: called after each part.
    """
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(config, more, device, repetitions, Path(name), time.monotonic() + config.seconds)
        for part in config.parts:
            rows = found[part] = []
            error = None
            try:
                for row in PARTS[part](bench):
                    rows.append(row)
                    keep(part, rows, None)
            except Exception as problem:  # whatever it is, the other parts are worth having
                error = f"{type(problem).__name__}: {problem}".splitlines()[0]
                log.warning("part %s ended early: %s", part, error)
            keep(part, rows, error)
            done()
    return found


# --------------------------------------------------------------------------------------------------- by the scripts


def _script(bench: Bench, name: str, *arguments: str, watch: Path | None = None) -> Row:
    """Runs a script; what came of it: `code`, `seconds`, the last line it said, and when `watch` appeared."""
    began, row = time.monotonic(), Row()
    said = bench.folder / "said"
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / f"{name}.py"), *arguments, f"device={bench.device}"],
            cwd=bench.folder,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        try:
            while process.poll() is None:
                if time.monotonic() > bench.until:
                    raise TimeoutError("the time is over (gpu.seconds)")
                if watch is not None and "first_page_seconds" not in row and watch.exists():
                    row["first_page_seconds"] = time.monotonic() - began
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
    row |= {"code": process.returncode, "seconds": time.monotonic() - began}
    if process.returncode:
        lines = [line for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        row["said"] = lines[-1] if lines else ""
    return row


def _trained(bench: Bench, model: str, run: str, *settings: str) -> Row:
    """A small training by `train.py`, with its last loss and its speed."""
    row = _script(bench, "train", f"model={model}", *bench.config.small, f"run_dir={run}", *settings)
    metrics = bench.folder / run / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    steps = [line for line in lines if line["event"] == "train"]
    if steps:
        row |= {"loss": steps[-1]["loss"], "train_seconds": steps[-1]["seconds"], "memory": steps[-1].get("memory")}
        row["tokens_per_s"] = steps[-1]["tokens"] / steps[-1]["seconds"]
    return row


def _models(bench: Bench) -> Iterator[Row]:
    text = bench.folder / "lines.txt"
    text.write_text("A dog runs in the old garden.\n" * bench.config.lines, encoding="utf-8")
    for model in bench.config.models:
        for graphs in (True, False):
            run = f"{model}-{graphs}"
            row = {"model": model, "cuda_graphs": graphs}
            row |= _trained(bench, model, run, f"cuda_graphs={str(graphs).lower()}")
            if not row["code"]:
                done = _script(bench, "translate", f"run={run}", f"input={text}", "output=out.txt", "decoding.beam=5")
                row["translate_code"], row["translate_seconds"] = done["code"], done["seconds"]
                row |= {"said": done["said"]} if "said" in done else {}
            yield row
    if bench.config.tests:
        yield {"model": "pytest -m gpu", **_tests(bench)}


def _tests(bench: Bench) -> Row:
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest, str(SCRIPTS.parent / "tests" / "gpu")],
        cwd=SCRIPTS.parent,
        capture_output=True,
        text=True,
        timeout=bench.left,
        check=False,
    )
    return {"code": done.returncode, "said": (done.stdout.splitlines() or [""])[-1]}


def _compare(bench: Bench) -> Iterator[Row]:
    page = bench.folder / "compared" / "report" / "index.html"
    yield _script(bench, "compare", "output=compared", *bench.config.compare, watch=page)


def _deterministic(bench: Bench) -> Iterator[Row]:
    steps = next(int(s.split("=")[1]) for s in bench.config.small if s.startswith("training.max_steps="))
    for model in bench.config.deterministic:
        for chosen in (True, False):
            setting = f"deterministic={str(chosen).lower()}"
            names = [f"{model}-{chosen}-{n}" for n in ("one", "two", "resumed")]
            rows = [_trained(bench, model, name, setting) for name in names[:2]]
            rows.append(_trained(bench, model, names[2], setting, f"training.max_steps={steps // 2}"))
            rows.append(_trained(bench, model, names[2], setting))
            weights = [bench.folder / name / "model.safetensors" for name in names]
            row = {"model": model, "deterministic": chosen, "code": max(row["code"] for row in rows)}
            if all(path.exists() for path in weights):
                first, second, resumed = (path.read_bytes() for path in weights)
                row |= {"repeated_equal": first == second, "resumed_equal": first == resumed}
                row["tokens_per_s"] = rows[1]["tokens_per_s"]
            yield row


# -------------------------------------------------------------------------------------------------- by its programs


def random_batches(config: GpuConfig, batch_tokens: int, seed: int = 0) -> tuple[list[Arrays], int]:
    """Batches of random tokens, each of sentences of similar lengths as training has them, and their target tokens."""
    random = np.random.default_rng(seed)
    batches, tokens = [], 0
    for share in np.linspace(0.3, 1.0, config.batches):
        most = max(4, round(share * config.longest))
        size = max(1, batch_tokens // most)
        sides = [random.integers(max(1, round(0.85 * most)), most, size) for _ in range(2)]
        batches.append(_arrays(config, random, *sides))
        tokens += int(sides[1].sum()) + size
    return batches, tokens


def _arrays(config: GpuConfig, random: np.random.Generator, sources: Any, targets: Any) -> Arrays:
    def rows(lengths: Any) -> Any:
        ids = random.integers(EOS + 1, max(EOS + 2, config.vocabulary), (len(lengths), int(lengths.max()) + 1))
        steps = np.arange(ids.shape[1])
        ids[steps >= lengths[:, None]] = 0
        ids[np.arange(len(lengths)), lengths] = EOS
        return ids

    source, target = rows(sources), rows(targets)
    before = np.concatenate([np.full((len(target), 1), BOS), target[:, :-1]], axis=1)
    return {"source": source, "lengths": sources + 1, "input": np.where(before == EOS, 0, before), "target": target}


def _passes(bench: Bench, program: str, given: Mapping[str, Any], batches: list[Arrays], count: bool = False) -> Row:
    """Median seconds of a pass over the batches by a program that is alone on the card, and its memory."""
    file = bench.folder / "batches.npz"
    write_batches(file, batches)
    base = {"threads": torch.get_num_threads(), "device": str(bench.device), "memory": None, **bench.more}
    base |= {"vocabulary": bench.config.vocabulary, "precision": bench.config.precision}
    base["label_smoothing"] = bench.more["training"]["label_smoothing"]
    try:
        process = Program(program, sys.executable, {**base, **given}, bench.folder, file)
    except S2SError as error:
        return {"error": str(error)}
    try:
        if count:
            return {"operations": process.operations()}
        seconds = float(np.median([process.run() for _ in range(bench.repetitions)]))
        return {"seconds": seconds, "memory": process.memory()}
    except S2SError as error:
        return {"error": str(error)}
    finally:
        process.close()


def _train(bench: Bench) -> Iterator[Row]:
    config, size = bench.config, bench.config.matmul
    rate = product_rate(size, size, size, DTYPES[config.precision], bench.device)
    yield {"model": "matmul", "size": size, "flops": rate}
    ways = {"s2s graphs": ("s2s", {"graphs": True}), "s2s steps": ("s2s", {}), "torch": ("torch", {})}
    if bench.device.type != "cuda":
        del ways["s2s graphs"]
    for model, shape in config.shapes.items():
        for batch_tokens in config.batch_tokens:
            batches, tokens = random_batches(config, batch_tokens)
            given = {"task": "train", "shape": asdict(shape)}
            counted = _passes(bench, "s2s", {**given, "recurrence": "bptt"}, batches, count=True)
            for name, (program, more) in ways.items():
                row: Row = {"model": model, "program": name, "batch_tokens": batch_tokens}
                row |= _passes(bench, program, {**given, **more}, batches)
                if "seconds" in row:
                    row["tokens_per_s"] = tokens / row["seconds"]
                    row["share"] = counted.get("operations", np.nan) / row["seconds"] / rate
                yield row


def _decode(bench: Bench) -> Iterator[Row]:
    config = bench.config
    random = np.random.default_rng(1)
    for model, shape in config.shapes.items():
        for beam in config.beam:
            decoding = {
                **bench.more["decoding"],
                "strategy": "beam" if beam > 1 else "greedy",
                "beam": beam,
                "n_best": 1,
            }
            for size in config.decode_batch:
                batches = []
                for _ in range(config.decode_batches):
                    lengths = random.integers(config.longest // 4 + 1, config.longest // 2 + 1, size)
                    batches.append({**_arrays(config, random, lengths, lengths), "length": np.array(lengths.max())})
                for graphs in (True, False) if bench.device.type == "cuda" else (False,):
                    row: Row = {"model": model, "beam": beam, "batch": size, "graphs": graphs}
                    given = {"task": "decode", "shape": asdict(shape), "graphs": graphs, "decoding": decoding}
                    row |= _passes(bench, "s2s", given, batches)
                    if "seconds" in row:
                        row["sentences_per_s"] = size * config.decode_batches / row["seconds"]
                    yield row


def _cells(bench: Bench) -> Iterator[Row]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield from pool.submit(_measured_cells, bench.config.cells, bench.repetitions, bench.device).result(bench.left)


def _measured_cells(config: CellsConfig, repetitions: int, device: torch.device) -> list[Row]:
    return cells.measure(config, repetitions, device, lambda: None)


PARTS: dict[Part, Callable[[Bench], Iterator[Row]]] = {
    "models": _models,
    "train": _train,
    "cells": _cells,
    "decode": _decode,
    "compare": _compare,
    "deterministic": _deterministic,
}


def table(found: Mapping[str, Sequence[Row]]) -> list[list[str]]:
    """A line for each row: its part, what was measured, and the numbers."""
    lines = [["part", "what", "numbers"]]
    for part, rows in found.items():
        if part == "cells":
            lines += [[part, line[0].strip(), "  ".join(line[1:]).strip()] for line in cells.table(rows)]
            continue
        for row in rows:
            what = [str(value) if key in NAMES else f"{key} {value}" for key, value in row.items() if key in WHAT]
            numbers = [f"{key} {_shown(value)}" for key, value in row.items() if key not in WHAT]
            lines.append([part, ", ".join(what), ", ".join(numbers)])
    return lines


def _shown(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)

"""`task=gpu`: a complete measurement of s2s on a GPU in one command of at most 25 minutes.

Each of the six parts runs in its own processes and is written row by row, so that neither an error nor the time limit
loses earlier results:

- `models`: every model is trained for some updates by `train.py`, as CUDA graphs and eagerly, validated, and used by
  `translate.py`, several at once; then the tests marked `gpu` run;
- `train`: target tokens a second, share of the measured GEMM throughput, memory and (in the file) a profile, at batches
  that grow until the GPU is full, beside the same models written plainly with torch's modules;
- `cells`: every cell with every backend and layout, beside cuDNN through torch's modules;
- `decode`: sentences a second, greedy and with beam search, at several batch sizes, as CUDA graphs and eagerly;
- `compare`: README's first command, until its first and its last page;
- `deterministic`: whether repeated and resumed runs have the same bits, with and without `deterministic=true`, and its
  cost in speed.

On a CPU the same parts run at a toy size, which tests the command.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from s2s.benchmark import cells
from s2s.benchmark.cells import CellsConfig
from s2s.benchmark.machine import Done, gemm_rate
from s2s.benchmark.programs import Arrays, Program, random_batch, specification, write_batches
from s2s.benchmark.shapes import RecurrentShape, TransformerShape
from s2s.dtype_choice import DTYPES, Dtype
from s2s.errors import S2SError
from s2s.schema import NonNegativeInt, PositiveInt

log = logging.getLogger(__name__)

Row = dict[str, Any]
Part = Literal["models", "train", "cells", "decode", "compare", "deterministic"]

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"
# Keys that identify a row, with and without their name in the table; the other keys are numbers.
NAMES = ("model", "program")
ONLY_IN_FILES = ("profile",)
SETTINGS = ("batch_tokens", "beam", "batch", "graphs", "cuda_graphs", "deterministic")


@dataclass(frozen=True)
class GpuConfig:
    """Configuration of `task=gpu`; see conf/benchmark.yaml."""

    parts: list[Part]
    models: list[str]
    small: list[str]
    lines: PositiveInt
    jobs: PositiveInt
    tests: bool
    shapes: dict[str, RecurrentShape | TransformerShape]
    precision: Dtype
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
    """Environment of the parts.

    Attributes:
        sections: sections of the configuration that the programs read.
        folder: for temporary files.
        deadline: end of the measurement, on the clock `time.monotonic`.
    """

    config: GpuConfig
    sections: Mapping[str, Any]
    device: torch.device
    repetitions: int
    folder: Path
    deadline: float

    @property
    def seconds_left(self) -> float:
        return max(1.0, self.deadline - time.monotonic())


def measure(
    config: GpuConfig,
    sections: Mapping[str, Any],
    device: torch.device,
    repetitions: int,
    store: Callable[[Part, list[Row], str | None], object],
    done: Done,
) -> dict[str, list[Row]]:
    """Measures all parts, one after the other.

    Args:
        sections: `training`, `optim` and `decoding` of the configuration.
        store: called after each row with the part's rows so far, and at its end with the error that ended it early.
    """
    results: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(config, sections, device, repetitions, Path(name), time.monotonic() + config.seconds)
        for part in config.parts:
            rows = results[part] = []
            error = None
            try:
                for row in PARTS[part](bench):
                    rows.append(row)
                    store(part, rows, None)
            except Exception as problem:  # no error of a part may end the others
                error = f"{type(problem).__name__}: {problem}".splitlines()[0]
                log.warning("part %s ended early: %s", part, error)
            store(part, rows, error)
            done()
    return results


# ------------------------------------------------------------------------------------------- parts that run scripts


def _script(bench: Bench, name: str, *arguments: str, watch: Path | None = None) -> Row:
    """Runs a script; returns `code`, `seconds`, the last line of a failed one, and when `watch` appeared."""
    start, row = time.monotonic(), Row()
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *arguments, f"device={bench.device}"]
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(command, cwd=bench.folder, stdout=subprocess.DEVNULL, stderr=file)
        try:
            while process.poll() is None:
                if time.monotonic() > bench.deadline:
                    raise TimeoutError("the time is over (gpu.seconds)")
                if watch is not None and "first_page_seconds" not in row and watch.exists():
                    row["first_page_seconds"] = time.monotonic() - start
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        row |= {"code": process.returncode, "seconds": time.monotonic() - start}
        if process.returncode:
            file.seek(0)
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
            log.warning("%s ended with %d:\n%s", " ".join(command), process.returncode, "\n".join(lines[-40:]))
            row["said"] = lines[-1] if lines else ""
    return row


def _train_small(bench: Bench, model: str, run: str, *overrides: str) -> Row:
    """Runs a small training by `train.py`; returns its last loss and its speed, too."""
    row = _script(bench, "train", f"model={model}", *bench.config.small, f"run_dir={run}", *overrides)
    metrics = bench.folder / run / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    updates = [line for line in lines if line["event"] == "train"]
    if updates:
        last = updates[-1]
        row |= {"loss": last["loss"], "train_seconds": last["seconds"], "memory": last.get("memory")}
        row["tokens_per_s"] = last["tokens"] / last["seconds"]
    return row


def _model(bench: Bench, model: str, graphs: bool, text: Path) -> Row:
    """Trains a model and translates the lines of `text` with it."""
    run = f"{model}-{graphs}"
    row = {"model": model, "cuda_graphs": graphs}
    row |= _train_small(bench, model, run, f"cuda_graphs={str(graphs).lower()}")
    if not row["code"]:
        output = f"output={run}.txt"
        result = _script(bench, "translate", f"run={run}", f"input={text}", output, "decoding.beam=5")
        row["translate_code"], row["translate_seconds"] = result["code"], result["seconds"]
        row |= {"said": result["said"]} if "said" in result else {}
    return row


def _models(bench: Bench) -> Iterator[Row]:
    text = bench.folder / "lines.txt"
    text.write_text("A dog runs in the old garden.\n" * bench.config.lines, encoding="utf-8")
    ways = (True, False) if bench.device.type == "cuda" else (False,)
    with ThreadPoolExecutor(bench.config.jobs) as pool:  # most of the time is the start of processes
        settings = [(model, graphs) for model in bench.config.models for graphs in ways]
        for work in as_completed([pool.submit(_model, bench, *setting, text) for setting in settings]):
            yield work.result()
    if bench.config.tests:
        pytest = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", "-p", "no:cacheprovider"]
        pytest.append(str(SCRIPTS.parent / "tests" / "gpu"))
        options: dict[str, Any] = {"cwd": SCRIPTS.parent, "timeout": bench.seconds_left, "check": False}
        tests = subprocess.run(pytest, capture_output=True, text=True, **options)
        yield {"model": "pytest -m gpu", "code": tests.returncode, "said": (tests.stdout.splitlines() or [""])[-1]}


def _compare(bench: Bench) -> Iterator[Row]:
    page = bench.folder / "compared" / "report" / "index.html"
    yield _script(bench, "compare", "output=compared", *bench.config.compare, watch=page)


def _deterministic(bench: Bench) -> Iterator[Row]:
    steps = next(int(s.split("=")[1]) for s in bench.config.small if s.startswith("training.max_steps="))
    for model in bench.config.deterministic:
        for deterministic in (True, False) if bench.device.type == "cuda" else (True,):
            # The exported weights are the last ones: a run that is resumed is validated once more on its way.
            settings = [f"deterministic={str(deterministic).lower()}", "training.average=none", "training.metric=loss"]
            runs = [f"{model}-{deterministic}-{n}" for n in ("one", "two")]
            rows = [_train_small(bench, model, run, *settings) for run in runs]
            speed = rows[1].get("tokens_per_s")
            if deterministic:  # nothing else promises the same bits after resuming
                runs.append(f"{model}-resumed")
                rows.append(_train_small(bench, model, runs[2], *settings, f"training.max_steps={steps // 2}"))
                rows.append(_train_small(bench, model, runs[2], *settings))
            weights = [bench.folder / run / "model.safetensors" for run in runs]
            row = {"model": model, "deterministic": deterministic, "code": max(row["code"] for row in rows)}
            if all(path.exists() for path in weights):
                first, *others = (path.read_bytes() for path in weights)
                equal = (first == other for other in others)
                row |= dict(zip(("repeated_equal", "resumed_equal"), equal, strict=False)) | {"tokens_per_s": speed}
            yield row


# ------------------------------------------------------------------------------------------ parts that run programs


def random_batches(config: GpuConfig, batch_tokens: int) -> tuple[list[Arrays], int]:
    """Returns batches of random tokens, each of similar lengths as in training, and their target tokens."""
    random, batches, tokens = np.random.default_rng(0), [], 0
    for share in np.linspace(0.3, 1.0, config.batches):
        longest = max(4, round(share * config.longest))
        size = max(1, batch_tokens // longest)
        lengths = [random.integers(max(1, round(0.85 * longest)), longest, size) for _ in range(2)]
        batches.append(random_batch(random, config.vocabulary, *lengths))
        tokens += int(lengths[1].sum()) + size
    return batches, tokens


def _run_program(
    bench: Bench, program: str, batches: list[Arrays], count: bool = False, profiled: bool = False, **values: Any
) -> Row:
    """Returns median seconds and memory of a program's pass over the batches, alone on the GPU, and its profile.

    Or, with `count`, the number of its operations.
    """
    file = bench.folder / "batches.npz"
    write_batches(file, batches)
    values = {"vocabulary": bench.config.vocabulary, "precision": bench.config.precision, **bench.sections, **values}
    values["label_smoothing"] = bench.sections["training"]["label_smoothing"]
    spec = specification(device=bench.device, **values)
    try:
        with closing(Program(program, sys.executable, spec, bench.folder, file)) as process:
            if count:
                return {"operations": process.operations()}
            seconds = float(np.median([process.run() for _ in range(bench.repetitions)]))
            row = {"seconds": seconds, "memory": process.memory()}
            return {**row, "profile": process.profile()} if profiled else row
    except S2SError as error:
        return {"error": str(error)}


def _train(bench: Bench) -> Iterator[Row]:
    config, size = bench.config, bench.config.matmul
    rate = gemm_rate(size, size, size, DTYPES[config.precision], bench.device)
    yield {"model": "matmul", "size": size, "flops": rate}
    programs: dict[str, tuple[str, Row]] = {"s2s steps": ("s2s", {}), "torch": ("torch", {})}
    if bench.device.type == "cuda":
        programs = {"s2s graphs": ("s2s", {"graphs": True}), **programs}
    for model, shape in config.shapes.items():
        batches, tokens = random_batches(config, min(config.batch_tokens))  # the lengths are alike in all sizes
        work: Row = {"task": "train", "shape": asdict(shape)}
        count = _run_program(bench, "s2s", batches, count=True, recurrence="bptt", **work).get("operations", np.nan)
        operations = count / tokens
        for batch_tokens in config.batch_tokens:
            batches, tokens = random_batches(config, batch_tokens)
            for name, (program, options) in programs.items():
                row: Row = {"model": model, "program": name, "batch_tokens": batch_tokens}
                profiled = name == "s2s steps" and batch_tokens == max(config.batch_tokens)
                row |= _run_program(bench, program, batches, profiled=profiled, **work, **options)
                if "seconds" in row:
                    row["tokens_per_s"] = tokens / row["seconds"]
                    row["share"] = operations * row["tokens_per_s"] / rate
                yield row


def _decode(bench: Bench) -> Iterator[Row]:
    config, random = bench.config, np.random.default_rng(1)
    for model, shape in config.shapes.items():
        for beam in config.beam:
            strategy = {"strategy": "beam" if beam > 1 else "greedy", "beam": beam, "n_best": 1}
            work: Row = {
                "task": "decode",
                "shape": asdict(shape),
                "decoding": {**bench.sections["decoding"], **strategy},
            }
            for size in config.decode_batch:
                batches = []
                for _ in range(config.decode_batches):
                    lengths = random.integers(config.longest // 4 + 1, config.longest // 2 + 1, size)
                    batch = random_batch(random, config.vocabulary, lengths, lengths)
                    batches.append({**batch, "length": np.array(lengths.max())})
                for graphs in (True, False) if bench.device.type == "cuda" else (False,):
                    row: Row = {"model": model, "beam": beam, "batch": size, "graphs": graphs}
                    row |= _run_program(bench, "s2s", batches, graphs=graphs, **work)
                    if "seconds" in row:
                        row["sentences_per_s"] = size * config.decode_batches / row["seconds"]
                    yield row


def _cells(bench: Bench) -> Iterator[Row]:
    arguments = (bench.config.cells, bench.repetitions, bench.device, int)  # int() stands for no progress bar
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield from pool.submit(cells.measure, *arguments).result(bench.seconds_left)


PARTS: dict[Part, Callable[[Bench], Iterator[Row]]] = {
    "models": _models,
    "train": _train,
    "cells": _cells,
    "decode": _decode,
    "compare": _compare,
    "deterministic": _deterministic,
}


def table(results: Mapping[str, Sequence[Row]]) -> list[list[str]]:
    """Returns a line per row: its part, its setting and its numbers."""
    lines = [["part", "setting", "numbers"]]
    for part, rows in results.items():
        if part == "cells":
            lines += [[part, line[0].strip(), "  ".join(line[1:]).strip()] for line in cells.table(rows)]
            continue
        for row in rows:
            setting = [str(row[key]) if key in NAMES else f"{key} {row[key]}" for key in row if key in NAMES + SETTINGS]
            numbers = {key: value for key, value in row.items() if key not in NAMES + SETTINGS + ONLY_IN_FILES}
            texts = [f"{key} {v:,.4g}" if isinstance(v, float) else f"{key} {v}" for key, v in numbers.items()]
            lines.append([part, ", ".join(setting), ", ".join(texts)])
    return lines

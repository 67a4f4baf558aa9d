"""`task=scaling`: how time and memory of an update and of a translation grow with sentence length.

A recurrent network reads a token only after the one before it, in training too; self-attention reads all tokens at once
and attends to all pairs of them. So every model trains and decodes random tokens at every length, with source and
target equally long; output lengths are forced to the source length. Each setting has its own process, so that its
memory is its own, and the processes of one batch and length take turns. A pass over few tokens is too short to time, so
it consists of several batches then.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from s2s.benchmark.machine import Done, free_memory
from s2s.benchmark.programs import Arrays, OutOfMemoryError, Program, random_batch, specification, write_batches
from s2s.benchmark.shapes import Shape, model_section
from s2s.dtype_choice import Dtype
from s2s.errors import S2SError
from s2s.evaluation.scaling import TASK_NAMES, Cost, Scaling, Task, exponents
from s2s.models import check_model
from s2s.schema import Bounds, PositiveFloat, PositiveInt

log = logging.getLogger(__name__)

FAMILIES: dict[str, Literal["fixed", "attention", "self-attention"]] = {
    "fixed": "fixed",
    "recurrent": "attention",
    "transformer": "self-attention",
}
PASS_TOKENS = 640  # a pass has enough batches for this many tokens …
MAX_BATCHES = 8  # … but not more than this


@dataclass(frozen=True)
class ScalingConfig:
    """Configuration of `task=scaling`: every model at every combination of batch and length."""

    models: dict[str, Shape]
    length: list[PositiveInt]  # tokens of both sides
    batch: list[PositiveInt]  # sentences
    batch_tokens: PositiveInt  # maximum of sentences × length
    vocabulary: Annotated[int, Bounds(low=100)]
    beam: PositiveInt
    precision: Dtype
    memory: PositiveFloat | None  # MiB

    def settings(self) -> list[tuple[int, int]]:
        """Returns (sentences, tokens) of each measured batch.

        Raises:
            S2SError: there is no batch, or a model cannot be built.
        """
        for name, shape in self.models.items():
            errors = check_model(model_section(asdict(shape)), None, [])
            if errors:
                raise S2SError(f"config: scaling.models.{name} cannot be built: {'; '.join(errors)}")
        sizes = [(batch, length) for batch in sorted({*self.batch}) for length in sorted({*self.length})]
        sizes = [(batch, length) for batch, length in sizes if batch * length <= self.batch_tokens]
        if not sizes or not self.models:
            raise S2SError(
                f"config: nothing to measure: scaling needs models, and scaling.batch={self.batch} times "
                f"scaling.length={self.length} within scaling.batch_tokens={self.batch_tokens}"
            )
        return sizes


@dataclass
class _Measurement:
    """One model and task at one batch and length: its process, closed when it runs out of memory, and its numbers."""

    model: str
    task: Task
    spec: dict[str, Any]
    setting: str  # batch and length in words
    program: Program | None = None
    parameters: int | None = None
    memory: float | None = None
    seconds: list[float] = field(default_factory=list)
    missing: str | None = None

    def start(self, folder: Path, batches: Path) -> None:
        """Starts the process and makes the untimed passes."""
        folder.mkdir()
        with self._within_memory():
            self.program = Program("s2s", sys.executable, self.spec, folder, batches)
            self.parameters, self.memory = self.program.facts["parameters"], self.program.memory()

    def run(self) -> None:
        """Makes a timed pass."""
        if self.program is not None:
            with self._within_memory():
                self.seconds.append(self.program.run())

    @contextmanager
    def _within_memory(self) -> Iterator[None]:
        try:
            yield
        except OutOfMemoryError:
            limit = self.spec["memory"]
            self.missing = f"needs more {'memory than there is' if limit is None else f'than {limit:,.0f} MiB'}"
            where = f"{self.model}, {TASK_NAMES[self.task]}, {self.setting}"
            log.warning("%s: not measured, it %s", where, self.missing)
            self.close()

    def close(self) -> None:
        if self.program is not None:
            self.program.close()
        self.program = None


def measure(
    config: ScalingConfig, sections: Mapping[str, Any], repetitions: int, device: torch.device, done: Done
) -> list[Cost]:
    """Returns the medians of each model, task, batch and length.

    A setting that runs out of memory has a cost without seconds; a warning names it.

    Args:
        sections: `training`, `optim` and `decoding` of the configuration.
        repetitions: timed passes of each setting.

    Raises:
        S2SError: a process ends for another reason, or all run out of memory.
    """
    costs = [one for size in config.settings() for one in _costs(config, sections, repetitions, device, done, *size)]
    if all(cost.seconds is None for cost in costs):
        raise S2SError(f"nothing could be measured: {costs[0].missing}; take smaller models or raise scaling.memory")
    return costs


def count_passes(config: ScalingConfig, repetitions: int) -> int:
    """Returns the passes that `measure` reports as done: the timed ones, and one of each process for its memory."""
    return len(config.settings()) * len(config.models) * len(TASK_NAMES) * (repetitions + 1)


def _costs(
    config: ScalingConfig,
    sections: Mapping[str, Any],
    repetitions: int,
    device: torch.device,
    done: Done,
    batch: int,
    length: int,
) -> list[Cost]:
    """Measures all models at one batch and length."""
    batches = random_batches(batch, length, config.vocabulary)
    measurements: list[_Measurement] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        file = Path(name) / "batches.npz"
        write_batches(file, batches)
        for model, shape in config.models.items():
            for task in TASK_NAMES:
                limit = config.memory or _memory_limit(device)
                values = {"vocabulary": config.vocabulary, "precision": config.precision, "memory": limit, **sections}
                spec = specification(task, asdict(shape), device, **values)
                measurement = _Measurement(model, task, spec, f"{batch} × {length} tokens")
                stack.enter_context(closing(measurement)).start(Path(name) / str(len(measurements)), file)
                measurements.append(measurement)
                done()
        for _ in range(repetitions):
            for measurement in measurements:
                measurement.run()
                done()
    return [
        Cost(
            model=one.model,
            family=FAMILIES[one.spec["shape"]["type"]],
            task=one.task,
            parameters=one.parameters,
            batch=batch,
            length=length,
            seconds=None if one.missing else statistics.median(one.seconds) / len(batches),
            memory=None if one.missing else one.memory,
            missing=one.missing,
        )
        for one in measurements
    ]


def _memory_limit(device: torch.device) -> float | None:
    """Returns the MiB that a process may take: 90 % of the free memory; a GPU reports by itself that it is full."""
    free = free_memory() if device.type == "cpu" else None
    return None if free is None else 0.9 * free


def random_batches(batch: int, length: int, vocabulary: int) -> list[Arrays]:
    """Returns the batches of a pass, the same on each call."""
    random, lengths = np.random.default_rng(1), np.full(batch, length)
    count = max(1, min(MAX_BATCHES, PASS_TOKENS // (batch * length)))
    return [{**random_batch(random, vocabulary, lengths, lengths), "length": np.array(length)} for _ in range(count)]


MEASURES: dict[str, Callable[[Cost, float | None], tuple[float | None, str]]] = {
    "ms": lambda cost, _: (cost.seconds and 1000 * cost.seconds, ",.1f"),
    "ms per token of its length": lambda cost, _: (cost.seconds_per_step and 1000 * cost.seconds_per_step, ".3f"),
    "exponent of the growth with length": lambda _, exponent: (exponent, ".2f"),
    "tokens/s": lambda cost, _: (cost.tokens_per_s, ",.0f"),
    "peak MiB": lambda cost, _: (cost.memory, ",.0f"),
}


def table(scaling: Scaling) -> list[list[str]]:
    """Returns a block per task, batch and measure, with a line per model and a column per length."""
    lines = [["tokens", *(f"{length}" for length in scaling.lengths)]]
    for task, words in TASK_NAMES.items():
        for batch in scaling.batches:
            for title, measure_of in MEASURES.items():
                lines.append([f"{words}, batch of {batch}: {title}", *("" for _ in scaling.lengths)])
                for model in scaling.models:
                    costs = scaling.of(task, batch, model)
                    cells = dict.fromkeys(scaling.lengths, "")
                    for length, exponent in exponents(costs).items():
                        value, form = measure_of(cost := costs[length], exponent)
                        cells[length] = "n/a" if cost.missing else "" if value is None else f"{value:{form}}"
                    lines.append([f"  {model}", *cells.values()])
    return lines

"""`task=scaling`: how the cost of an update and of a translation grows with the length of sentences.

A recurrent network reads a token only after the one before it, in training as well; self-attention reads all at once,
and looks at all pairs of them. So every model does both kinds of work on random tokens at every length, source and
target equally long; outputs are as long as the source, by force. Each setting has a process of its own, so that its
memory is its own, and the processes of one batch and length take turns. A pass over few tokens takes no time that could
be measured well; it is several batches then.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from s2s.benchmark.against import FixedShape, RecurrentShape, TransformerShape
from s2s.benchmark.machine import free_memory
from s2s.benchmark.peers.ours import section
from s2s.benchmark.programs import Arrays, NoMemoryLeftError, Program, write_batches
from s2s.config import Bounds, PositiveFloat, PositiveInt
from s2s.data.subwords import EOS
from s2s.errors import S2SError
from s2s.evaluation.scaling import TASK_NAMES, Cost, Scaling, Task, exponents
from s2s.models import check_model

log = logging.getLogger(__name__)

FAMILIES: dict[str, Literal["fixed", "attention", "self-attention"]] = {
    "fixed": "fixed",
    "recurrent": "attention",
    "transformer": "self-attention",
}
SHORT = 640  # tokens; a pass has as many batches as make so many …
MOST = 8  # … but not more than this


@dataclass(frozen=True)
class ScalingConfig:
    """What `task=scaling` measures: every model at every combination of batch and length."""

    models: dict[str, FixedShape | RecurrentShape | TransformerShape]
    length: list[PositiveInt]  # tokens of both sides
    batch: list[PositiveInt]  # sentences
    batch_tokens: PositiveInt  # sentences × length, at most
    vocabulary: Annotated[int, Bounds(low=100)]
    beam: PositiveInt
    precision: Literal["fp32", "bf16"]
    memory: PositiveFloat | None  # MiB

    def settings(self) -> list[tuple[int, int]]:
        """(sentences, tokens) of each batch that is measured.

        Raises:
            S2SError: there is none, or a model cannot be built.
        """
        for name, shape in self.models.items():
            errors = check_model(section(asdict(shape)), None, [])
            if errors:
                raise S2SError(f"config: scaling.models.{name} cannot be built: {'; '.join(errors)}")
        pairs = [(batch, length) for batch in sorted({*self.batch}) for length in sorted({*self.length})]
        found = [(batch, length) for batch, length in pairs if batch * length <= self.batch_tokens]
        if not found or not self.models:
            raise S2SError(
                f"config: nothing to measure: scaling needs models, and scaling.batch={self.batch} times "
                f"scaling.length={self.length} within scaling.batch_tokens={self.batch_tokens}"
            )
        return found


@dataclass
class _Turn:
    """One model's work at one batch and length: its process, as long as it can, and what it has taken."""

    model: str
    task: Task
    setting: str  # in words
    program: Program | None = None
    parameters: int | None = None
    memory: float | None = None
    seconds: list[float] = field(default_factory=list)
    missing: str | None = None

    def start(self, given: Mapping[str, Any], folder: Path, batches: Path) -> None:
        """Makes the process, and has it do what is not timed."""
        folder.mkdir()
        try:
            self.program = Program("s2s", sys.executable, given, folder, batches)
            self.parameters, self.memory = self.program.facts["parameters"], self.program.memory()
        except NoMemoryLeftError:
            self._give_up(given["memory"])

    def take(self, given: Mapping[str, Any]) -> None:
        """One timed pass."""
        if self.program is not None:
            try:
                self.seconds.append(self.program.run())
            except NoMemoryLeftError:
                self._give_up(given["memory"])

    def _give_up(self, limit: float | None) -> None:
        self.missing = "needs more memory than there is" if limit is None else f"needs more than {limit:,.0f} MiB"
        log.warning("%s, %s, %s: not measured, it %s", self.model, TASK_NAMES[self.task], self.setting, self.missing)
        self.close()

    def close(self) -> None:
        if self.program is not None:
            self.program.close()
        self.program = None


def measure(
    config: ScalingConfig,
    more: Mapping[str, Any],
    repetitions: int,
    device: torch.device,
    done: Callable[[], object],
) -> list[Cost]:
    """Medians of each model, kind of work, batch and length.

    Args:
        more: the sections `training`, `optim` and `decoding` of the configuration.
        repetitions: measured passes of each.
        done: called after each pass.

    Returns:
        Also, without a time, what needs more memory than it can have; a warning says so.

    Raises:
        S2SError: a process ends for another reason, or each for want of memory.
    """
    costs: list[Cost] = []
    for batch, length in config.settings():
        costs += _costs(config, more, repetitions, device, batch, length, done)
    if all(cost.seconds is None for cost in costs):
        raise S2SError(f"nothing could be measured: {costs[0].missing}; take smaller models or raise scaling.memory")
    return costs


def count_passes(config: ScalingConfig, repetitions: int) -> int:
    """Passes that `measure` reports as done: the measured ones, and one of each process for its memory."""
    return len(config.settings()) * len(config.models) * len(TASK_NAMES) * (repetitions + 1)


def _costs(
    config: ScalingConfig,
    more: Mapping[str, Any],
    repetitions: int,
    device: torch.device,
    batch: int,
    length: int,
    done: Callable[[], object],
) -> list[Cost]:
    """All models at one batch and length."""
    batches = random_batches(batch, length, config.vocabulary)
    turns: list[tuple[_Turn, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        file = Path(name) / "batches.npz"
        write_batches(file, batches)
        for model, shape in config.models.items():
            for task in TASK_NAMES:
                turn = stack.enter_context(closing(_Turn(model, task, f"{batch} × {length} tokens")))
                given = {
                    **{"task": task, "shape": asdict(shape), "vocabulary": config.vocabulary, **more},
                    **{"precision": config.precision, "threads": torch.get_num_threads(), "device": str(device)},
                    "memory": config.memory or _most_memory(device),
                }
                turn.start(given, Path(name) / str(len(turns)), file)
                turns.append((turn, given))
                done()
        for _ in range(repetitions):
            for turn, given in turns:
                turn.take(given)
                done()
    return [
        Cost(
            model=turn.model,
            family=FAMILIES[given["shape"]["type"]],
            task=turn.task,
            parameters=turn.parameters,
            batch=batch,
            length=length,
            seconds=None if turn.missing else statistics.median(turn.seconds) / len(batches),
            memory=None if turn.missing else turn.memory,
            missing=turn.missing,
        )
        for turn, given in turns
    ]


def _most_memory(device: torch.device) -> float | None:
    """MiB that a process may take: some less than what is free. A GPU says by itself when it is full."""
    free = free_memory() if device.type == "cpu" else None
    return None if free is None else 0.9 * free


def random_batches(batch: int, length: int, vocabulary: int) -> list[Arrays]:
    """The batches of one pass: on both sides sentences of `length` random tokens and `</s>`; the same on each call."""
    random = np.random.default_rng(1)
    ends = np.full((batch, 1), EOS)

    def side() -> np.ndarray:
        return np.hstack([random.integers(EOS + 1, vocabulary, (batch, length)), ends])

    count = max(1, min(MOST, SHORT // (batch * length)))
    return [{"source": side(), "target": side(), "length": np.array(length)} for _ in range(count)]


MEASURES: dict[str, Callable[[Cost, float | None], str | None]] = {
    "ms": lambda cost, _: None if cost.seconds is None else f"{1000 * cost.seconds:,.1f}",
    "ms for each token of its length": lambda cost, _: (
        None if cost.seconds_per_step is None else f"{1000 * cost.seconds_per_step:.3f}"
    ),
    "grows as the length to the power of": lambda _, exponent: None if exponent is None else f"{exponent:.2f}",
    "tokens/s": lambda cost, _: None if cost.tokens_per_s is None else f"{cost.tokens_per_s:,.0f}",
    "MiB at most": lambda cost, _: None if cost.memory is None else f"{cost.memory:,.0f}",
}


def table(scaling: Scaling) -> list[list[str]]:
    """A block for each kind of work, batch and measure; a line for each model, a column for each length."""
    lines = [["tokens", *(f"{length}" for length in scaling.lengths)]]
    for task, words in TASK_NAMES.items():
        for batch in scaling.batches:
            for what, number in MEASURES.items():
                lines.append([f"{words}, batch of {batch}: {what}", *("" for _ in scaling.lengths)])
                for model in scaling.models:
                    costs = scaling.of(task, batch, model)
                    grown = exponents(costs)
                    cells = {n: _cell(number(cost, grown[n]), cost.missing) for n, cost in costs.items()}
                    lines.append([f"  {model}", *(cells.get(length, "") for length in scaling.lengths)])
    return lines


def _cell(text: str | None, missing: str | None) -> str:
    """A gap is n/a only where there was something to measure."""
    return "n/a" if missing else text or ""

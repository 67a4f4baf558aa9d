"""Cost by sentence length: measured times and memory as values, and the growth of time with length.

If sentences of T tokens take the time t(T), then between two lengths it grows as T to the power of

    exponent = log(t(T₂) / t(T₁)) / log(T₂ / T₁)

and twice the length takes 2^exponent times as long. 1 is linear and 2 quadratic growth; below 1 the time per token
falls with the length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from s2s.errors import S2SError
from s2s.files import read_json
from s2s.schema import NonNegativeFloat, PositiveFloat, PositiveInt, build, check_call

Task = Literal["train", "decode"]
TASK_NAMES: dict[Task, str] = {"train": "training update", "decode": "decoding"}
# Conditions of the measurement, which are shown beside the numbers.
MACHINE_KEYS = ("processor", "device", "threads", "torch")
SETTING_KEYS = ("vocabulary", "beam", "precision")


@dataclass(frozen=True)
class Cost:
    """Cost of one task for one model on a batch of sentences of one length, the same for source and target."""

    model: str
    family: Literal["fixed", "attention", "self-attention"]  # decides the look (`s2s.evaluation.report.palette`)
    task: Task  # one update of the weights, or decoding the batch
    parameters: PositiveInt | None  # None: the model could not be measured at all
    batch: PositiveInt  # sentences
    length: PositiveInt  # tokens of each side
    seconds: PositiveFloat | None  # the median; None: not measured
    memory: NonNegativeFloat | None  # peak in MiB above that of the process without a model; None: unknown
    missing: str | None  # reason for the lack of `seconds`

    @property
    def tokens_per_s(self) -> float | None:
        """Target tokens per second."""
        return None if self.seconds is None else self.batch * self.length / self.seconds

    @property
    def seconds_per_step(self) -> float | None:
        """Seconds per token: of decoding, or of an update's forward and backward pass over both sides."""
        return None if self.seconds is None else self.seconds / self.length


@dataclass(frozen=True)
class Scaling:
    """The contents of a file written by `scripts/benchmark.py task=scaling`."""

    costs: list[Cost]
    config: dict[str, Any]  # of the measurement
    machine: dict[str, Any]

    @property
    def models(self) -> dict[str, str]:
        """Family by model, in the order of the file."""
        return {cost.model: cost.family for cost in self.costs}

    @property
    def batches(self) -> list[int]:
        return sorted({cost.batch for cost in self.costs})

    @property
    def lengths(self) -> list[int]:
        return sorted({cost.length for cost in self.costs})

    def of(self, task: str, batch: int, model: str) -> dict[int, Cost]:
        """Returns the costs by length, the shortest first."""
        costs = (cost for cost in self.costs if (cost.task, cost.batch, cost.model) == (task, batch, model))
        return {cost.length: cost for cost in sorted(costs, key=lambda cost: cost.length)}

    def seconds(self, task: str, batch: int, length: int) -> dict[str, float]:
        """Returns the time of each model that has one."""
        costs = (cost for cost in self.costs if (cost.task, cost.batch, cost.length) == (task, batch, length))
        return {cost.model: cost.seconds for cost in costs if cost.seconds is not None}

    def common_lengths(self, task: str, batch: int) -> list[int]:
        """Returns the lengths at which all models have a time."""
        return [length for length in self.lengths if len(self.seconds(task, batch, length)) == len(self.models)]


def exponents(costs: Mapping[int, Cost]) -> dict[int, float | None]:
    """Returns the growth of each time since the length before; None at the first and beside one not measured.

    Args:
        costs: of one model, task and batch, by length, the shortest first (`Scaling.of`).
    """
    growth: dict[int, float | None] = dict.fromkeys(costs)
    for before, cost in pairwise(costs.values()):
        if before.seconds is not None and cost.seconds is not None:
            growth[cost.length] = math.log(cost.seconds / before.seconds) / math.log(cost.length / before.length)
    return growth


def as_rows(scaling: Scaling) -> list[dict[str, Any]]:
    """Returns each cost with its derived values, for the file."""
    settings = {(cost.task, cost.batch, cost.model) for cost in scaling.costs}
    growth = {setting: exponents(scaling.of(*setting)) for setting in settings}
    return [
        {
            **asdict(cost),
            "tokens_per_s": cost.tokens_per_s,
            "seconds_per_step": cost.seconds_per_step,
            "exponent": growth[cost.task, cost.batch, cost.model][cost.length],
        }
        for cost in scaling.costs
    ]


def read_scaling(path: Path) -> Scaling:
    """Reads the file that `task=scaling` writes.

    Raises:
        S2SError: it is missing, not JSON, or has other contents.
    """
    values = read_json(path)
    for problem in _problems(values):
        raise S2SError(f"{path} is not what `python scripts/benchmark.py task=scaling output=…` writes: {problem}")
    return Scaling([build(Cost, row) for row in _costs(values)], values["config"], values["machine"])


def _costs(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of `Cost` in each row."""
    names = [field.name for field in fields(Cost)]
    return [{key: row[key] for key in names if isinstance(row, dict) and key in row} for row in values["rows"]]


def _problems(values: Any) -> Iterator[str]:
    """Differences from the format; what follows the first is meaningless."""
    kinds = {"rows": list, "config": dict, "machine": dict}
    if not isinstance(values, dict) or any(not isinstance(values.get(key), kind) for key, kind in kinds.items()):
        yield "it has no rows, config and machine"
    config, rows = values["config"], _costs(values)
    if config.get("task") != "scaling":
        yield f"its task is {config.get('task')}"
    settings = config["scaling"] if isinstance(config.get("scaling"), dict) else {}
    yield from (f"machine.{key} is missing" for key in MACHINE_KEYS if key not in values["machine"])
    yield from (f"config.scaling.{key} is missing" for key in SETTING_KEYS if key not in settings)
    for number, row in enumerate(rows):
        yield from check_call(Cost, row, f"rows[{number}]")
    if all(row["seconds"] is None for row in rows):
        yield "no row has a time"
    if len({(row["model"], row["task"], row["batch"], row["length"]) for row in rows}) < len(rows):
        yield "rows are repeated"

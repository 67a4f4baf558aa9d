"""Cost by sentence length: measured times and memory as values, and the growth of time with length.

If sentences of T tokens take the time t(T), then between two lengths it grows as T to the power of

    exponent = log(t(T₂) / t(T₁)) / log(T₂ / T₁)

and twice the length takes 2^exponent times as long. 1 is linear and 2 quadratic growth; below 1 the time per token
falls with the length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
    growth: dict[int, float | None] = {}
    before: Cost | None = None
    for length, cost in costs.items():
        growth[length] = None
        if before is not None and before.seconds is not None and cost.seconds is not None:
            growth[length] = math.log(cost.seconds / before.seconds) / math.log(length / before.length)
        before = cost
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
    kinds = {"rows": list, "config": dict, "machine": dict}
    if not isinstance(values, dict) or any(not isinstance(values.get(key), kind) for key, kind in kinds.items()):
        raise _format_error(path, "it has no rows, config and machine")
    rows, config, machine = (values[key] for key in kinds)
    if config.get("task") != "scaling":
        raise _format_error(path, f"its task is {config.get('task')}")
    settings = config["scaling"] if isinstance(config.get("scaling"), dict) else {}
    absent = [f"machine.{key}" for key in MACHINE_KEYS if key not in machine]
    absent += [f"config.scaling.{key}" for key in SETTING_KEYS if key not in settings]
    if absent:
        raise _format_error(path, f"{absent[0]} is missing")
    names = [field.name for field in fields(Cost)]
    costs = []
    for number, row in enumerate(rows):
        fields_of_row = {key: row[key] for key in names if key in row} if isinstance(row, dict) else {}
        errors = check_call(Cost, fields_of_row, f"rows[{number}]")
        if errors:
            raise _format_error(path, errors[0])
        costs.append(build(Cost, fields_of_row))
    if not any(cost.seconds is not None for cost in costs):
        raise _format_error(path, "no row has a time")
    if len({(c.model, c.task, c.batch, c.length) for c in costs}) < len(costs):
        raise _format_error(path, "rows are repeated")
    return Scaling(costs, config, machine)


def _format_error(path: Path, why: str) -> S2SError:
    return S2SError(f"{path} is not what `python scripts/benchmark.py task=scaling output=…` writes: {why}")

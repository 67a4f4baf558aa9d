"""How cost grows with the length of sentences: measured times and memory as values, and what follows from them.

If the time is t(T) for sentences of T tokens, then between two lengths it grows as T to the power of

    exponent = log(t(T₂) / t(T₁)) / log(T₂ / T₁)

so that twice the length takes 2^exponent times as long: 1 is in proportion, 2 is quadratic, and below 1 a longer
sentence is cheaper for each of its tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from s2s.errors import S2SError
from s2s.files import read_json
from s2s.schema import NonNegativeFloat, PositiveFloat, PositiveInt, build, check_call

Task = Literal["train", "decode"]
WORDS: dict[Task, str] = {"train": "training update", "decode": "decoding"}
# What a reader of the numbers is told beside them.
SAID_OF_MACHINE = ("processor", "device", "threads", "torch")
SAID_OF_SETTINGS = ("vocabulary", "beam", "precision")


@dataclass(frozen=True)
class Cost:
    """What one model takes for one kind of work on a batch of sentences of one length, source and target alike.

    Attributes:
        family: decides colour and dash of the model's line (`s2s.evaluation.report.palette`).
        task: one update of the weights, or the translation of the batch.
        parameters: of the model; None when it could not be measured at all.
        batch: sentences.
        length: tokens of each side.
        seconds: the median; None: not measured.
        memory: MiB at most, above what the process had before there was a model; None: not known.
        missing: why there are no seconds.
    """

    model: str
    family: Literal["fixed", "attention", "self-attention"]
    task: Task
    parameters: PositiveInt | None
    batch: PositiveInt
    length: PositiveInt
    seconds: PositiveFloat | None
    memory: NonNegativeFloat | None
    missing: str | None

    @property
    def tokens_per_s(self) -> float | None:
        """Target tokens a second."""
        return None if self.seconds is None else self.batch * self.length / self.seconds

    @property
    def seconds_per_step(self) -> float | None:
        """Decoding takes so long for each token; an update for each token of both sides, there and back."""
        return None if self.seconds is None else self.seconds / self.length


@dataclass(frozen=True)
class Scaling:
    """A file of `scripts/benchmark.py task=scaling`."""

    costs: list[Cost]
    config: dict[str, Any]  # what was asked for
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
        """What was tried, by length, the shortest first."""
        chosen = (c for c in self.costs if (c.task, c.batch, c.model) == (task, batch, model))
        return {cost.length: cost for cost in sorted(chosen, key=lambda cost: cost.length)}

    def measured(self, task: str, batch: int) -> list[int]:
        """The lengths at which all models have a time."""
        found = [self.of(task, batch, model) for model in self.models]
        return [n for n in self.lengths if all(n in costs and costs[n].seconds is not None for costs in found)]


def exponents(costs: Sequence[Cost]) -> list[float | None]:
    """How the time of each grows from the one before; None for the first, and beside one that was not measured.

    Args:
        costs: of one model, task and batch, the shortest sentences first.
    """
    found: list[float | None] = []
    for number, cost in enumerate(costs):
        before = costs[number - 1] if number else None
        if before is None or before.seconds is None or cost.seconds is None:
            found.append(None)
        else:
            found.append(math.log(cost.seconds / before.seconds) / math.log(cost.length / before.length))
    return found


def as_rows(scaling: Scaling) -> list[dict[str, Any]]:
    """For the file: each cost, with what follows from it."""
    growth = {}
    for task in WORDS:
        for batch in scaling.batches:
            for model in scaling.models:
                costs = list(scaling.of(task, batch, model).values())
                growth.update(dict(zip(costs, exponents(costs), strict=True)))
    return [
        {
            **asdict(cost),
            "tokens_per_s": cost.tokens_per_s,
            "seconds_per_step": cost.seconds_per_step,
            "exponent": growth[cost],
        }
        for cost in scaling.costs
    ]


def read_scaling(path: Path) -> Scaling:
    """The file that `task=scaling` has written.

    Raises:
        S2SError: it is missing, not JSON, or something else.
    """
    values = read_json(path)
    kinds = {"rows": list, "config": dict, "machine": dict}
    if not isinstance(values, dict) or any(not isinstance(values.get(key), kind) for key, kind in kinds.items()):
        raise _other(path, "it has no rows, config and machine")
    rows, config, machine = (values[key] for key in kinds)
    if config.get("task") != "scaling":
        raise _other(path, f"its task is {config.get('task')}")
    settings = config["scaling"] if isinstance(config.get("scaling"), dict) else {}
    absent = [f"machine.{key}" for key in SAID_OF_MACHINE if key not in machine]
    absent += [f"config.scaling.{key}" for key in SAID_OF_SETTINGS if key not in settings]
    if absent:
        raise _other(path, f"{absent[0]} is missing")
    names = [field.name for field in fields(Cost)]
    costs = []
    for number, row in enumerate(rows):
        known = {key: row[key] for key in names if key in row} if isinstance(row, dict) else {}
        errors = check_call(Cost, known, f"rows[{number}]")
        if errors:
            raise _other(path, errors[0])
        costs.append(build(Cost, known))
    scaling = Scaling(costs, config, machine)
    if not any(cost.seconds is not None for cost in costs):
        raise _other(path, "no row has a time")
    if len({(c.model, c.task, c.batch, c.length) for c in costs}) < len(costs):
        raise _other(path, "rows are repeated")
    return scaling


def _other(path: Path, why: str) -> S2SError:
    return S2SError(f"{path} is not what `python scripts/benchmark.py task=scaling output=…` writes: {why}")

"""Remembering over many steps: what a network can be trained to carry from the beginning of a sequence to its end.

The two tasks of `s2s.lab.tasks` ask for something that was read long ago, and for nothing else: a network without
memory answers them as well as chance. All cells are as wide, see the same sequences and have the same number of
updates; where several learning rates are named, each cell is trained with each of them, and the one counts that does
best on other sequences than those of the test.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from s2s.evaluation.report.canvas import SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Verdict, rising
from s2s.lab.fit import Recipe, fit, seeded
from s2s.lab.look import axis_labels, legend, line, looks, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, above, all_of, below, mean_over_seeds
from s2s.lab.tasks import TASKS, Reader, Task
from s2s.schema import PositiveFloat, PositiveInt, build

WINDOW = 20  # updates whose mean loss says whether a task is solved
SOLVED = 0.9  # share of right answers


@dataclass(frozen=True)
class Budget:
    """What every cell gets."""

    hidden: PositiveInt
    batch: PositiveInt
    updates: PositiveInt  # at most; a task that is solved takes no more of them
    examples: PositiveInt  # sequences of a test


@dataclass(frozen=True)
class Settings:
    cells: list[str]
    lengths: list[PositiveInt]  # of the delay, or of the row of numbers
    budget: Budget
    rates: dict[str, list[PositiveFloat]]  # learning rates by cell
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """For each task and cell a list over seeds of what `remembered` returns."""
    budget = dataclasses.asdict(settings.budget)
    jobs = {
        f"{cell}, seed {seed}": partial(remembered, cell, settings.rates[cell], settings.lengths, seed, budget)
        for seed in settings.seeds
        for cell in settings.cells
    }
    done = bench.each(jobs)
    return {
        "lengths": settings.lengths,
        "updates": settings.budget.updates,
        "tasks": {
            name: {cell: [done[f"{cell}, seed {seed}"][name] for seed in settings.seeds] for cell in settings.cells}
            for name in TASKS
        },
    }


def remembered(
    cell: str, rates: Sequence[float], lengths: Sequence[int], seed: int, budget: Mapping[str, Any]
) -> dict[str, list[dict[str, float]]]:
    """By task, for each length the best of the learning rates: see `learn`."""
    sizes = build(Budget, budget)
    return {
        name: [
            max((learn(task, cell, rate, length, seed, sizes) for rate in rates), key=lambda found: found["chosen_by"])
            for length in lengths
        ]
        for name, task in TASKS.items()
    }


def learn(task: Task, cell: str, rate: float, length: int, seed: int, budget: Budget) -> dict[str, float]:
    """Trains one network.

    Returns:
        right: share of right answers in the test; chosen_by: the same on other sequences, to choose by; updates taken;
        rate.
    """
    with seeded(seed):
        model = Reader(cell, task.inputs, budget.hidden, task.outputs)
    training, later = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(1_000_000 + seed)

    def loss() -> Tensor:
        x, wanted = task.draw(budget.batch, length, training)
        return task.loss(model(x), wanted)

    recent: deque[float] = deque(maxlen=WINDOW)

    def solved(update: int, value: float) -> bool:
        recent.append(value)
        return update >= WINDOW and statistics.fmean(recent) < task.solved

    losses = fit(model, loss, Recipe(budget.updates, rate), watch=solved)
    chosen_by, right = (task.accuracy(model, task.draw(budget.examples, length, later)) for _ in range(2))
    return {"right": right, "chosen_by": chosen_by, "updates": len(losses), "rate": rate}


def span(lengths: Sequence[int], right: Sequence[float]) -> int:
    """The longest length up to which all are solved; 0 if the shortest is not."""
    longest = 0
    for length, share in zip(lengths, right, strict=True):
        if share < SOLVED:
            break
        longest = length
    return longest


def find(numbers: Numbers) -> Findings:
    lengths, rows, sentences = numbers["lengths"], [], []
    for name, cells in numbers["tasks"].items():
        spans = {}
        for cell, runs in cells.items():
            right = [mean_over_seeds([100 * run[place]["right"] for run in runs]) for place in range(len(lengths))]
            spans[cell] = span(lengths, [one.mean / 100 for one in right])
            rows.append([f"{name}: {cell}", *(one.percent() for one in right)])
        told = ", ".join(f"{cell} {f'up to {most}' if most else 'at no length'}" for cell, most in spans.items())
        sentences.append(
            f"{name.capitalize()}, {100 * SOLVED:g} % right over so many steps: {told} "
            f"(of {', '.join(map(str, lengths))}; chance is {100 * TASKS[name].chance:.1f} %)."
        )
    verdict, reason = _judge(numbers)
    columns = ["task and cell", *(f"{length} steps" for length in lengths)]
    return Findings(sentences, columns, rows, verdict, reason)


def _judge(numbers: Numbers) -> tuple[Verdict | None, str]:
    """At the longest length the LSTM solves each task and the plain network none; at the shortest it remembers, too."""
    verdicts, parts = [], []
    for name, cells in numbers["tasks"].items():
        runs = {cell: cells.get(cell, []) for cell in ("lstm", "rnn")}
        if min(map(len, runs.values())) < SEEDS_FOR_A_VERDICT:
            return None, ""
        half = 50 * (1 + TASKS[name].chance)
        lstm, rnn = (mean_over_seeds([100 * run[-1]["right"] for run in runs[cell]]) for cell in runs)
        verdicts += [above(lstm, 100 * SOLVED), below(rnn, half)]
        parts.append(f"{name}: LSTM {lstm.percent()}, RNN {rnn.percent()}, asked are {100 * SOLVED:g} and {half:.0f}")
        if name == "first symbol":  # the adding problem asks for more than a memory
            soon = mean_over_seeds([100 * run[0]["right"] for run in runs["rnn"]])
            verdicts.append(above(soon, half))
            parts[-1] += f"; the RNN after {numbers['lengths'][0]} steps {soon.percent()}"
    return all_of(verdicts), f"right answers at {numbers['lengths'][-1]} steps: " + "; ".join(parts)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    titles = {"first symbol": "Which symbol came first?", "adding": "The mean of two marked numbers?"}
    figure, both = panels([titles[name] for name in numbers["tasks"]], narrow)
    lengths = numbers["lengths"]
    for axes, (name, cells) in zip(both, numbers["tasks"].items(), strict=True):
        chance = 100 * TASKS[name].chance
        axes.axhline(chance, color=SOFT, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
        axes.annotate("chance", (lengths[0], chance), (0, 3), textcoords="offset points", fontsize=8.5, color=SOFT)
        for number, (cell, runs) in enumerate(cells.items()):
            # Side by side, as several cells often reach 100 %.
            places = [length * 1.05 ** (number - (len(cells) - 1) / 2) for length in lengths]
            shares = [mean_over_seeds([100 * run[place]["right"] for run in runs]) for place in range(len(lengths))]
            right = [one.share() for one in shares]
            low, high = [one.low for one in right], [one.high for one in right]
            line(axes, places, [one.mean for one in right], looks()[cell], cell, low, high)
        axes.set_xscale("log")
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.set_ylim(-4, 106)
        axis_labels(axes, "delay, steps" if name == "first symbol" else "numbers in the row", "right answers, %")
    legend(figure, both[0])
    return figure


EXPERIMENT = Experiment(
    name="memory",
    title="Who remembers over many steps?",
    claim="An RNN can keep only a short-term memory; the LSTM also remembers what was long ago.",
    chapter="chapter 0 (2): what is an LSTM?",
    setup="Every cell is trained to name the first symbol of a sequence after a delay of symbols that say nothing, and "
    "to give the mean of the two marked numbers of a row (both after Hochreiter & Schmidhuber 1997; a mean is right "
    "within 0.04). "
    "As wide, as many updates and the same sequences for all; learning rates as in the settings, where several are "
    "named each cell has its best. At the longest length an LSTM has remembered if it is right in nine tenths, and an "
    "RNN has not if it is nearer to chance than to all right.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: [
        *rising("lengths", settings.lengths),
        *(["lengths must be at least 2: the adding problem marks two numbers"] if settings.lengths[0] < 2 else []),
        *(f"rates has none for {cell}" for cell in settings.cells if not settings.rates.get(cell)),
    ],
)

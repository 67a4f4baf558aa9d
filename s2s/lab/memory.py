"""Long-term memory: how many steps a trained network can carry information from the beginning of a sequence.

Both tasks of `s2s.lab.tasks` ask for an early input and nothing else; a network without memory answers at chance. Each
cell is trained with several learning rates, and the best on sequences other than those of the test counts.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from s2s.lab.experiment import Conclusion, Description, Findings, Numbers, rising
from s2s.lab.fit import Recipe, fit, seeded
from s2s.lab.plots import cell_style, legend, log_ticks, mean_line, note, panels, reference_line
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, Mean, above, all_of, below, mean_over_seeds
from s2s.lab.tasks import TASKS, Task, generators
from s2s.schema import PositiveFloat, PositiveInt

WINDOW = 20  # updates whose mean loss decides whether a task is solved
SOLVED = 0.9  # accuracy


@dataclass(frozen=True)
class Budget:
    """Model size and training of every cell."""

    hidden: PositiveInt
    batch: PositiveInt
    updates: PositiveInt  # at most; training stops when the task is solved
    examples: PositiveInt  # sequences of a test


@dataclass(frozen=True)
class Settings:
    cells: list[str]
    lengths: list[PositiveInt]  # the delay, or the number of numbers
    budget: Budget
    rates: dict[str, list[PositiveFloat]]  # learning rates by cell
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return [
        *rising("lengths", settings.lengths),
        *(["lengths must be at least 2: the adding task marks two numbers"] if settings.lengths[0] < 2 else []),
        *(f"rates has none for {cell}" for cell in settings.cells if not settings.rates.get(cell)),
    ]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """For each task and cell a list over seeds of the results of `remembered`."""
    results = runner.run_seeds(
        settings.cells,
        settings.seeds,
        lambda cell, seed: partial(remembered, cell, settings.rates[cell], settings.lengths, seed, settings.budget),
    )
    return {
        "lengths": settings.lengths,
        "updates": settings.budget.updates,
        "tasks": {name: {cell: [run[name] for run in runs] for cell, runs in results.items()} for name in TASKS},
    }


def remembered(
    cell: str, rates: Sequence[float], lengths: Sequence[int], seed: int, budget: Budget
) -> dict[str, list[dict[str, float]]]:
    """By task, for each length the result of `learn` with the best learning rate."""
    return {
        name: [
            max((learn(task, cell, rate, length, seed, budget) for rate in rates), key=lambda run: run["chosen_by"])
            for length in lengths
        ]
        for name, task in TASKS.items()
    }


def learn(task: Task, cell: str, rate: float, length: int, seed: int, budget: Budget) -> dict[str, float]:
    """Trains one network.

    Returns:
        right: test accuracy; chosen_by: accuracy on other sequences, for the choice of the rate; updates: their number;
        rate.
    """
    with seeded(seed):
        model = task.model(cell, budget.hidden)
    training, test = generators(seed)
    recent: deque[float] = deque(maxlen=WINDOW)

    def solved(update: int, loss: float) -> bool:
        recent.append(loss)
        return update >= WINDOW and statistics.fmean(recent) < task.solved

    losses = fit(
        model,
        lambda: task.batch_loss(model, task.sample(budget.batch, length, training)),
        Recipe(budget.updates, rate),
        callback=solved,
    )
    chosen_by, right = (task.accuracy(model, task.sample(budget.examples, length, test)) for _ in range(2))
    return {"right": right, "chosen_by": chosen_by, "updates": len(losses), "rate": rate}


def span(lengths: Sequence[int], accuracies: Sequence[float]) -> int:
    """The longest length up to which all are solved; 0 if the shortest is not."""
    solved = itertools.takewhile(lambda pair: pair[1] >= SOLVED, zip(lengths, accuracies, strict=True))
    return max((length for length, _ in solved), default=0)


def _accuracy(runs: Sequence[Sequence[Mapping[str, float]]], n: int) -> Mean:
    """Accuracy at length number n, in percent."""
    return mean_over_seeds([100 * run[n]["right"] for run in runs])


def analyse(numbers: Numbers) -> Findings:
    lengths, rows, sentences = numbers["lengths"], [], []
    for name, cells in numbers["tasks"].items():
        spans = {}
        for cell, runs in cells.items():
            accuracies = [_accuracy(runs, n) for n in range(len(lengths))]
            spans[cell] = span(lengths, [mean.mean / 100 for mean in accuracies])
            rows.append([f"{name}: {cell}", *(mean.percent() for mean in accuracies)])
        by_cell = ", ".join(f"{cell} {f'up to {most}' if most else 'at no length'}" for cell, most in spans.items())
        sentences.append(
            f"{name.capitalize()}, longest number of steps with {100 * SOLVED:g} % accuracy: {by_cell} "
            f"(of {', '.join(map(str, lengths))}; chance is {100 * TASKS[name].chance:.1f} %)."
        )
    columns = ["task and cell", *(f"{length} steps" for length in lengths)]
    return Findings(sentences, columns, rows, *_conclusion(numbers))


def _conclusion(numbers: Numbers) -> tuple[Conclusion | None, str]:
    """At the longest length the LSTM solves each task, the plain RNN none; at the shortest the RNN remembers, too."""
    conclusions, reasons = [], []
    for name, cells in numbers["tasks"].items():
        lstm_runs, rnn_runs = cells.get("lstm", []), cells.get("rnn", [])
        if min(len(lstm_runs), len(rnn_runs)) < MIN_SEEDS:
            return None, ""
        half = 50 * (1 + TASKS[name].chance)
        lstm, rnn = _accuracy(lstm_runs, -1), _accuracy(rnn_runs, -1)
        conclusions += [above(lstm, 100 * SOLVED), below(rnn, half)]
        reasons.append(
            f"{name}: LSTM {lstm.percent()} (threshold {100 * SOLVED:g}), RNN {rnn.percent()} (threshold {half:.0f})"
        )
        if name == "first symbol":  # the adding task requires more than memory
            shortest = _accuracy(rnn_runs, 0)
            conclusions.append(above(shortest, half))
            reasons[-1] += f"; the RNN after {numbers['lengths'][0]} steps {shortest.percent()}"
    return all_of(conclusions), f"accuracy at {numbers['lengths'][-1]} steps: " + "; ".join(reasons)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    titles = {
        "first symbol": ("Which symbol came first?", "delay, steps", "accuracy, %"),
        "adding": ("The mean of two marked numbers?", "length of the sequence", "accuracy, %"),
    }
    figure, both = panels(narrow, *(titles[name] for name in numbers["tasks"]))
    lengths = numbers["lengths"]
    for axes, (name, cells) in zip(both, numbers["tasks"].items(), strict=True):
        chance = 100 * TASKS[name].chance
        reference_line(axes, chance)
        note(axes, "chance", (lengths[0], chance), (0, 3))
        for number, (cell, runs) in enumerate(cells.items()):
            # Side by side, since several cells often reach 100 %.
            x = [length * 1.05 ** (number - (len(cells) - 1) / 2) for length in lengths]
            mean_line(axes, x, [_accuracy(runs, n).share() for n in range(len(lengths))], cell_style(cell), cell)
        log_ticks(axes, lengths, base=10)
        axes.set_ylim(-4, 106)
    return legend(figure)


DESCRIPTION = Description(
    title="Who remembers over many steps?",
    claim="An RNN can keep only a short-term memory; the LSTM also remembers what was long ago.",
    chapter="chapter 0 (2): what is an LSTM?",
    setup="Every cell is trained on two tasks: to name the first symbol of a sequence after a delay of distractors, "
    "and to compute the mean of the two marked numbers of a sequence (both after Hochreiter & Schmidhuber 1997; a "
    "mean is right within 0.04). Width, number of updates and sequences are the same for all cells; learning rates "
    "are those of the settings, and among several each cell uses its best. At the longest length an LSTM remembers "
    "if its accuracy is above nine tenths; an RNN does not if its accuracy is nearer to chance than to 100 %.",
)

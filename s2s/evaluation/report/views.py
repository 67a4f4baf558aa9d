"""Cells of the page's tables: scores on the whole test set and by length."""

from __future__ import annotations

from dataclasses import dataclass

from s2s.evaluation.bleu import Metric
from s2s.evaluation.by_length import Estimate
from s2s.evaluation.report.length import View
from s2s.evaluation.report.results import Results, System


@dataclass(frozen=True)
class Cell:
    """A score with its interval over sentences, and its minimum and maximum over several seeds."""

    score: Estimate
    seeds: tuple[float, float] | None
    digits: int

    @property
    def value(self) -> str:
        return "n/a" if self.score.value is None else f"{self.score.value:.{self.digits}f}"

    @property
    def interval(self) -> str:
        """`12.3–14.5`, empty without an interval."""
        if self.score.low is None or self.score.high is None:
            return ""
        return self._span(self.score.low, self.score.high)

    @property
    def range(self) -> str:
        """`12.3–14.5` over the seeds, empty for one seed."""
        return "" if self.seeds is None else self._span(*self.seeds)

    def _span(self, low: float, high: float) -> str:
        return f"{low:.{self.digits}f}–{high:.{self.digits}f}"


def score_cell(results: Results, system: System, metric: Metric) -> Cell:
    """Returns a system's score on the whole test set."""
    seeds = [one.evaluation.estimate(metric) for one in system.trainings]
    return _cell(results.evaluations[system.name].estimate(metric), seeds, metric)


@dataclass(frozen=True)
class LengthRow:
    """A bin, or the whole set, in the table of a view: a cell for each system."""

    label: str
    sentences: int
    beyond: bool  # longer than all training text
    cells: list[Cell]


def view_table(results: Results, view: View) -> list[LengthRow]:
    """Returns the rows of the table below a length picture: the bins, then the whole set."""
    axis = results.first.bins_by(view.side)
    rows = [(row.label, row.sentences, axis.limit is not None and row.min > axis.limit) for row in axis.bins]
    rows.append(("whole set", results.first.sentences, False))
    columns = []
    for system in results.systems:
        estimates = [
            [row.estimate(view.metric) for row in (*evaluation.bins_by(view.side).bins, evaluation)]
            for evaluation in (results.evaluations[system.name], *(one.evaluation for one in system.trainings))
        ]
        columns.append([_cell(mean, seeds, view.metric) for mean, *seeds in zip(*estimates, strict=True)])
    return [LengthRow(*row, list(cells)) for row, cells in zip(rows, zip(*columns, strict=True), strict=True)]


def _cell(score: Estimate, seeds: list[Estimate], metric: Metric) -> Cell:
    values = [one.value for one in seeds if one.value is not None]
    ends = (min(values), max(values)) if len(values) > 1 else None
    return Cell(score, ends, 3 if metric == "length_ratio" else 1)

"""The tables of the page, ready to be shown: systems with what they are worth and what they took, and scores by length.

Everything that a choice on the page can bring up is in them, each baseline and each view, so that the page's script
only has to show and to hide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from s2s.evaluation.bleu import Metric
from s2s.evaluation.by_length import Evaluation, Measured
from s2s.evaluation.paired import Against
from s2s.evaluation.report.length import View
from s2s.evaluation.report.results import Results, System


@dataclass(frozen=True)
class Cell:
    """A score with its interval over sentences, and the least and the most of several seeds."""

    score: Measured
    seeds: tuple[float, float] | None
    digits: int

    @property
    def value(self) -> str:
        return self._text(self.score.value)

    @property
    def interval(self) -> str:
        """`12.3–14.5`, empty where there is none."""
        if self.score.low is None or self.score.high is None:
            return ""
        return f"{self._text(self.score.low)}–{self._text(self.score.high)}"

    @property
    def range(self) -> str:
        """`12.3–14.5` from seed to seed, empty for one seed."""
        return "" if self.seeds is None else "–".join(self._text(end) for end in self.seeds)

    def _text(self, value: float | None) -> str:
        return "n/a" if value is None else f"{value:.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """A system in the table of systems.

    Attributes:
        scores: by metric.
        against: by metric and baseline; None where it is the baseline.
    """

    system: System
    scores: dict[Metric, Cell]
    against: dict[Metric, list[tuple[str, Against | None]]]


def system_rows(results: Results) -> list[Row]:
    metrics: tuple[Metric, ...] = ("bleu", "chrf")
    names = [one.name for one in results.systems]
    rows = []
    for one in results.systems:
        trainings = [training.evaluation for training in one.trainings]
        scores = {
            metric: _cell(results.evaluations[one.name].of(metric), [t.of(metric) for t in trainings], metric)
            for metric in metrics
        }
        against = {
            metric: [
                (other, None if other == one.name else results.pairs.found[one.name, other][metric]) for other in names
            ]
            for metric in metrics
        }
        rows.append(Row(one, scores, against))
    return rows


@dataclass(frozen=True)
class LengthRow:
    """A bin in the table of a view, or the whole set at its end; a cell for each system."""

    label: str
    sentences: int
    beyond: bool  # longer than anything in training
    cells: list[Cell]


def view_table(results: Results, view: View) -> list[LengthRow]:
    """The rows of the table below a length picture."""
    along = results.first.along(view.side)
    rows = []
    for number, found in enumerate(along.bins):

        def of_bin(evaluation: Evaluation, number: int = number) -> Measured:
            return evaluation.along(view.side).bins[number].of(view.metric)

        beyond = along.limit is not None and found.min > along.limit
        rows.append(LengthRow(found.label, found.sentences, beyond, _cells(results, view, of_bin)))
    whole = _cells(results, view, lambda evaluation: evaluation.of(view.metric))
    return [*rows, LengthRow("whole set", results.first.sentences, False, whole)]


def _cells(results: Results, view: View, of: Callable[[Evaluation], Measured]) -> list[Cell]:
    return [
        _cell(of(results.evaluations[one.name]), [of(t.evaluation) for t in one.trainings], view.metric)
        for one in results.systems
    ]


def _cell(score: Measured, seeds: list[Measured], metric: Metric) -> Cell:
    values = [one.value for one in seeds if one.value is not None]
    ends = (min(values), max(values)) if len(values) > 1 else None
    return Cell(score, ends, 3 if metric == "length_ratio" else 1)

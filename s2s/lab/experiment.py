"""Experiment: a claim of the lecture note, its settings, a measurement, and the conclusion from the measured values.

An experiment is a module of this package, see `ExperimentModule`. `measure` returns values that JSON can hold, and
everything in it that takes time is a job of the runner. `analyse` and `draw` depend on these values only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from matplotlib.figure import Figure

from s2s.lab.runner import JobRunner

Size = Literal["quick", "full"]
Conclusion = Literal["supported", "not supported", "inconclusive"]
Numbers = dict[str, Any]  # measured values that JSON can hold
Overrides = Annotated[list[str], "overrides of train.py"]  # a setting: overrides as on the command line of train.py
TextOverrides = Annotated[list[str], "overrides of train.py, for the text alone"]  # no model is tested on the data
MAY_BE_EMPTY = "may be empty"  # annotates a list among the settings; other lists may not be empty


class Findings(NamedTuple):
    """Summary of an experiment's numbers.

    Attributes:
        sentences: the results in words, the answer first.
        columns: headings of the table.
        rows: cells of the table.
        conclusion: on the claim; None where there are too few seeds for one.
        reason: the evidence for the conclusion, with intervals.
    """

    sentences: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    conclusion: Conclusion | None = None
    reason: str = ""


class Description(NamedTuple):
    """Texts of an experiment.

    Attributes:
        title: a heading.
        claim: the note's sentence, translated.
        chapter: the place in the note.
        setup: the method, a short paragraph.
    """

    title: str
    claim: str
    chapter: str
    setup: str


class ExperimentModule(Protocol):
    """Contents of an experiment's module, which may also have `check`; see `Experiment`."""

    __name__: str
    DESCRIPTION: Description
    Settings: type[Any]

    def measure(self, settings: Any, runner: JobRunner, /) -> Numbers: ...
    def analyse(self, numbers: Numbers, /) -> Findings: ...
    def draw(self, numbers: Numbers, narrow: bool, /) -> Figure: ...


@dataclass(frozen=True)
class Experiment:
    """One claim of the note.

    Attributes:
        name: of its module, of its file in `conf/lab/` and of its output folder.
        settings: a frozen dataclass; each size in `conf/lab/<name>.yaml` is checked against it.
        measure: numbers of an experiment with these settings.
        analyse: findings from the numbers of `measure`.
        draw: figure of the same numbers; True asks for one that fits a phone (4.3 inches wide).
        check: errors in settings of the right types; each begins with the key.
    """

    name: str
    description: Description
    settings: type[Any]
    measure: Callable[[Any, JobRunner], Numbers]
    analyse: Callable[[Numbers], Findings]
    draw: Callable[[Numbers, bool], Figure]
    check: Callable[[Any], list[str]] = lambda settings: []

    @classmethod
    def from_module(cls, module: ExperimentModule) -> Experiment:
        functions = (module.measure, module.analyse, module.draw)
        check = getattr(module, "check", cls.check)
        return cls(module.__name__.rpartition(".")[2], module.DESCRIPTION, module.Settings, *functions, check)


def rising(key: str, values: Sequence[float]) -> list[str]:
    """The error of a list among the settings that does not rise."""
    return [f"{key}={list(values)} must rise"] if any(b <= a for a, b in itertools.pairwise(values)) else []

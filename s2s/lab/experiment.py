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
    """Summary of an experiment's numbers."""

    sentences: Sequence[str]  # the results in words, the answer first
    columns: Sequence[str]  # headings of the table
    rows: Sequence[Sequence[str]]  # cells of the table
    conclusion: Conclusion | None = None  # on the claim; None where there are too few seeds for one
    reason: str = ""  # the evidence for the conclusion, with intervals


class Description(NamedTuple):
    """Texts of an experiment."""

    title: str
    claim: str  # the note's sentence, translated
    chapter: str  # of the note
    setup: str  # the method, a short paragraph


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
    """One claim of the note; its name is that of its module, of its file in `conf/lab/` and of its output folder."""

    name: str
    description: Description
    settings: type[Any]  # a frozen dataclass; each size in `conf/lab/<name>.yaml` is checked against it
    measure: Callable[[Any, JobRunner], Numbers]
    analyse: Callable[[Numbers], Findings]
    draw: Callable[[Numbers, bool], Figure]  # True asks for a figure that fits a phone (4.3 inches wide)
    check: Callable[[Any], list[str]] = lambda settings: []  # errors in settings of the right types, by key

    @classmethod
    def from_module(cls, module: ExperimentModule) -> Experiment:
        functions = (module.measure, module.analyse, module.draw)
        check = getattr(module, "check", cls.check)
        return cls(module.__name__.rpartition(".")[2], module.DESCRIPTION, module.Settings, *functions, check)


def rising(key: str, values: Sequence[float], compared: bool = False) -> list[str]:
    """The error of a list among the settings that does not rise, or that has a single value to compare."""
    if compared and len(values) < 2:
        return [f"{key} must be two or more: they are compared"]
    return [f"{key}={list(values)} must rise"] if any(b <= a for a, b in itertools.pairwise(values)) else []

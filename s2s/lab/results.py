"""Runs experiments and writes their results: `result.json`, `picture.png` and `picture.svg` of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2s.evaluation.report.canvas import drawing, save
from s2s.files import write_json
from s2s.lab.experiment import Experiment, Findings, Numbers, Size
from s2s.lab.runner import JobRunner
from s2s.schema import build
from s2s.version import __version__


@dataclass(frozen=True)
class ExperimentResult:
    """Result of one experiment; `seconds` is the total time of its jobs."""

    experiment: Experiment
    size: Size
    settings: dict[str, Any]
    numbers: Numbers
    seconds: float

    @property
    def findings(self) -> Findings:
        return self.experiment.analyse(self.numbers)


def run_experiment(
    experiment: Experiment, size: Size, settings: Mapping[str, Any], runner: JobRunner, folder: Path
) -> ExperimentResult:
    """Runs an experiment's missing jobs and writes its result to the folder; `settings` are checked plain values.

    Raises:
        StoppedError: before its end; the same call resumes it.
    """
    before = runner.seconds
    numbers = experiment.measure(build(experiment.settings, settings), runner)
    result = ExperimentResult(experiment, size, dict(settings), numbers, round(runner.seconds - before, 1))
    with drawing():
        figure = experiment.draw(numbers, False)
        for suffix in ("png", "svg"):
            save(figure, folder / f"picture.{suffix}")
    findings = result.findings._asdict()
    values = {
        "experiment": experiment.name,
        "claim": experiment.description.claim,
        "size": size,
        "settings": result.settings,
        "seconds": result.seconds,
        "s2s_version": __version__,
        "findings": {"verdict" if key == "conclusion" else key: value for key, value in findings.items()},
        "numbers": numbers,
    }
    write_json(folder / "result.json", values)  # last: its presence means that the result is complete
    return result

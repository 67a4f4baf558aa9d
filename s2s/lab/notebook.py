"""Carries out experiments and keeps what they found: `result.json`, `picture.png` and `picture.svg` of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2s.evaluation.report.canvas import drawing, save
from s2s.files import write_json
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Size
from s2s.schema import build
from s2s.version import __version__


@dataclass(frozen=True)
class Entry:
    """One experiment that was carried out.

    Attributes:
        settings: with which.
        seconds: of computing, jobs one added to the other.
    """

    experiment: Experiment
    size: Size
    settings: dict[str, Any]
    numbers: Numbers
    seconds: float

    @property
    def findings(self) -> Findings:
        return self.experiment.find(self.numbers)


def carry_out(experiment: Experiment, size: Size, settings: Mapping[str, Any], bench: Bench, folder: Path) -> Entry:
    """The experiment with these settings; what the bench has of it already is not done again.

    Args:
        settings: checked values for `experiment.settings`.
        folder: of this experiment.

    Raises:
        StoppedError: before its end; the same again goes on.
    """
    before = bench.seconds
    numbers = experiment.measure(build(experiment.settings, settings), bench)
    entry = Entry(experiment, size, dict(settings), numbers, round(bench.seconds - before, 1))
    _write(entry, folder)
    return entry


def _write(entry: Entry, folder: Path) -> None:
    experiment = entry.experiment
    with drawing():
        figure = experiment.draw(entry.numbers, False)
        for suffix in ("png", "svg"):
            save(figure, folder / f"picture.{suffix}")
    kept: dict[str, Any] = {
        "experiment": experiment.name,
        "claim": experiment.claim,
        "size": entry.size,
        "settings": entry.settings,
    }
    kept |= {"seconds": entry.seconds, "s2s_version": __version__, "findings": dataclasses.asdict(entry.findings)}
    write_json(folder / "result.json", kept | {"numbers": entry.numbers})  # last: it says that all is there

"""Carries out experiments and keeps what they found: `result.json`, `picture.png` and `picture.svg` of each."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2s.config import build
from s2s.evaluation.report.canvas import drawing, save
from s2s.files import read_json, write_json
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Size
from s2s.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One experiment that was carried out.

    Attributes:
        settings: with which.
        seconds: how long it took, jobs side by side.
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
    """The experiment with these settings, from its folder if it is there already.

    Args:
        settings: checked values for `experiment.settings`.
        folder: of this experiment.

    Raises:
        StoppedError: before its end; the same again goes on.
    """
    path, told = folder / "result.json", dict(settings)
    kept = read_json(path) if path.exists() else {}
    if (kept.get("settings"), kept.get("size")) == (told, size):
        log.info("%s: there already (%s)", experiment.name, path)
        entry = Entry(experiment, size, told, kept["numbers"], kept["seconds"])
    else:
        began = time.perf_counter()
        numbers = experiment.measure(build(experiment.settings, told), bench)
        entry = Entry(experiment, size, told, numbers, round(time.perf_counter() - began, 1))
    _write(entry, folder)
    return entry


def _write(entry: Entry, folder: Path) -> None:
    """The files of an experiment; of one that was carried out before, what is said and drawn today of its numbers."""
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

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
    if path.exists():
        kept = read_json(path)
        if kept["settings"] == told and kept["size"] == size:
            log.info("%s: there already (%s)", experiment.name, path)
            return Entry(experiment, size, told, kept["numbers"], kept["seconds"])
    began = time.perf_counter()
    numbers = experiment.measure(build(experiment.settings, told), bench)
    entry = Entry(experiment, size, told, numbers, time.perf_counter() - began)
    found = dataclasses.asdict(entry.findings)
    with drawing():
        figure = experiment.draw(numbers, False)
        for suffix in ("png", "svg"):
            save(figure, folder / f"picture.{suffix}")
    kept = {"experiment": experiment.name, "claim": experiment.claim, "size": size, "settings": told}
    kept |= {"seconds": round(entry.seconds, 1), "s2s_version": __version__, "findings": found, "numbers": numbers}
    write_json(path, kept)  # last: it says that all is there
    return entry

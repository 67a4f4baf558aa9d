"""Where experiments are carried out: every job is done once, its result is kept, and several run side by side.

A job is a function and its arguments (`functools.partial`). Its result is stored under the name of the function and a
hash of the arguments and of the version of s2s, so an experiment that was stopped goes on with the jobs that are
missing, and one whose settings were changed, or the configuration of the models that it trains, does only what changed.
Translation models are ordinary runs of `scripts/train.py`, shared by all experiments that ask for the same
training; what changes only in how they are decoded or scored trains none of them anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from s2s.devices import jobs_at_once, pick_device
from s2s.files import read_json, write_json
from s2s.precision import Dtype
from s2s.version import __version__

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
Job = partial[Any]  # of a function that can be imported, with arguments that JSON can hold; returns such values too
SideBySide = Callable[[Mapping[str, Callable[[], object]], int], int]


class StoppedError(Exception):
    """Jobs ended before they were done: by a signal, or because one failed and said why."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"stopped with exit code {exit_code}")
        self.exit_code = exit_code


def one_after_the_other(jobs: Mapping[str, Callable[[], object]], at_once: int) -> int:
    """The simplest way to carry out jobs: here and now."""
    for job in jobs.values():
        job()
    return 0


class Bench:
    """Does jobs and keeps their results.

    Args:
        folder: of the results.
        compose: makes the configuration of a training run from what one would type after `scripts/train.py`.
        train: trains and evaluates the run of a configuration in a folder, unless that is done already, and returns
            facts about it; see `s2s.commands.lab.trained`.
        side_by_side: carries out named jobs, at most so many at a time; returns an exit code.
        at_once: how many; None for one on each CPU core, and one where trainings would share a GPU.
        precision: the dtype that `auto` stands for in all experiments.

    Attributes:
        seconds: that all jobs so far took, one added to the other; those that were done before count, too.
    """

    def __init__(
        self,
        folder: Path,
        compose: Callable[[Sequence[str]], dict[str, Any]],
        train: Callable[[dict[str, Any], str], dict[str, Any]],
        side_by_side: SideBySide = one_after_the_other,
        at_once: int | None = None,
        precision: Dtype = "fp32",
    ) -> None:
        self.folder, self.precision = folder, precision
        self._compose, self._train = compose, train
        self._side_by_side, self._at_once = side_by_side, at_once
        self.seconds = 0.0

    def configuration(self, typed: Sequence[str]) -> dict[str, Any]:
        """The configuration of a training run, from what one would type after `scripts/train.py`."""
        values = self._compose(typed)
        if values.get("training", {}).get("precision") == "auto":
            values["training"] = values["training"] | {"precision": self.precision}
        return values

    def each(self, jobs: Mapping[str, Job], device: torch.device = CPU) -> dict[str, Any]:
        """The results of jobs, by the same names; only those that are not kept yet are done.

        Args:
            device: on which they compute.

        Raises:
            StoppedError: before all were done; what is done is kept.
        """
        files = {name: self._file(job) for name, job in jobs.items()}
        missing = {path: (name, jobs[name]) for name, path in files.items() if not path.exists()}
        if missing:
            work = {name: partial(keep, job, path) for path, (name, job) in missing.items()}
            code = self._side_by_side(work, min(self._at_once or jobs_at_once(device, len(work)), len(work)))
            if code:
                raise StoppedError(code)
        if there := len(set(files.values())) - len(missing):
            log.info("%d of %d results are there already", there, there + len(missing))
        kept = {path: read_json(path) for path in files.values()}
        self.seconds += sum(one["seconds"] for one in kept.values())
        return {name: kept[path]["result"] for name, path in files.items()}

    def trained(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
        """Facts about trained and evaluated translation models, by name.

        Args:
            wanted: what one would type after `scripts/train.py` for each.

        Returns:
            what `s2s.commands.lab.trained` returns for each.
        """
        jobs, devices = {}, set()
        for name, typed in wanted.items():
            values = self.configuration(typed)
            trained_by = {key: value for key, value in values.items() if key not in ("decoding", "evaluation")}
            run = self.folder / "runs" / f"{values['model']['name']}-s{values['seed']}-{_digest(trained_by)}"
            jobs[name] = partial(self._train, values, str(run))
            devices.add(pick_device(values["device"]))
            if not run.exists():  # removed by someone, while what was known about it is still here
                self._file(jobs[name]).unlink(missing_ok=True)
        return self.each(jobs, next((one for one in devices if one != CPU), CPU))

    def _file(self, job: Job) -> Path:
        function = f"{job.func.__module__}.{job.func.__qualname__}"
        return (
            self.folder
            / "parts"
            / f"{job.func.__name__}-{_digest([__version__, function, job.args, job.keywords])}.json"
        )


def keep(job: Job, path: Path) -> None:
    """Does a job and stores its result, and how long it took."""
    began = time.perf_counter()
    result = job()
    write_json(path, {"seconds": round(time.perf_counter() - began, 1), "result": result})


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

"""Job runner with a cache: each job runs once, in parallel with others, and its result is stored.

A job is a function and its arguments (`functools.partial`). The file of its result has the function's name and a hash
of the arguments and of the code that the function depends on. So a stopped experiment resumes with the missing jobs,
and changed settings, a changed configuration of the trained models or changed code run only the jobs that they affect.
Translation models are ordinary runs of `scripts/train.py`, shared by all experiments with the same training settings;
a change of decoding or evaluation alone trains none of them again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from s2s.code_digest import SCORES, TRAINING, TRANSLATIONS, code_digest
from s2s.devices import jobs_at_once, pick_device
from s2s.dtype_choice import Dtype
from s2s.files import read_json, write_json

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
# Of an importable function. Its arguments are values that JSON can hold, or dataclasses of them; its result is a value.
Job = partial[Any]
Facts = dict[str, Any]  # about a trained and evaluated model; see `s2s.commands.lab.trained`
Executor = Callable[[Mapping[str, Callable[[], object]], int], int]


class StoppedError(Exception):
    """Jobs ended early: by a signal, or because one of them failed and printed its error."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"stopped with exit code {exit_code}")
        self.exit_code = exit_code


def run_serially(jobs: Mapping[str, Callable[[], object]], workers: int) -> int:
    """Executor that runs jobs one after the other in this process."""
    for job in jobs.values():
        job()
    return 0


class JobRunner:
    """Runs jobs and caches their results.

    Args:
        folder: of the results.
        compose: configuration of a training run from overrides of `scripts/train.py`.
        train: trains and evaluates the run of a configuration in a folder, unless that is done already.
        executor: runs named jobs with this many workers; returns an exit code.
        workers: number of parallel jobs; None: one per CPU core, and one where trainings would share a GPU.
        precision: the dtype that `auto` stands for in all experiments.

    Attributes:
        seconds: total time of all jobs so far, including the cached ones.
    """

    def __init__(
        self,
        folder: Path,
        compose: Callable[[Sequence[str]], dict[str, Any]],
        train: Callable[[dict[str, Any], str], Facts],
        executor: Executor = run_serially,
        workers: int | None = None,
        precision: Dtype = "fp32",
    ) -> None:
        self.folder, self.precision = folder, precision
        self._compose, self._train = compose, train
        self._executor, self._workers = executor, workers
        self.seconds = 0.0

    def compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The configuration of a training run with these overrides of `scripts/train.py`."""
        config = self._compose(overrides)
        if config.get("training", {}).get("precision") == "auto":
            config["training"] = config["training"] | {"precision": self.precision}
        return config

    def run(self, jobs: Mapping[str, Job], device: torch.device = CPU) -> dict[str, Any]:
        """The results of jobs on this device, by their names; only jobs without a cached result are run.

        Raises:
            StoppedError: before all were done; finished results stay cached.
        """
        files = {name: self._file(job) for name, job in jobs.items()}
        missing = {path: (name, jobs[name]) for name, path in files.items() if not path.exists()}
        if missing:
            work = {name: partial(_run_and_store, job, path) for path, (name, job) in missing.items()}
            code = self._executor(work, min(self._workers or jobs_at_once(device, len(work)), len(work)))
            if code:
                raise StoppedError(code)
        if cached := len(set(files.values())) - len(missing):
            log.info("%d of %d results are cached", cached, cached + len(missing))
        stored = {path: read_json(path) for path in files.values()}
        self.seconds += sum(entry["seconds"] for entry in stored.values())
        return {name: stored[path]["result"] for name, path in files.items()}

    def run_seeds(
        self,
        names: Iterable[str],
        seeds: Sequence[int],
        job: Callable[[str, int], Job],
        label: str = "",
        device: torch.device = CPU,
    ) -> dict[str, list[Any]]:
        """The results of `job(name, seed)`: by name, a list over seeds; `label` begins the names of the jobs."""
        names = list(names)
        jobs = {f"{label}{name}, seed {seed}": job(name, seed) for seed in seeds for name in names}
        results = self.run(jobs, device)
        return {name: [results[f"{label}{name}, seed {seed}"] for seed in seeds] for name in names}

    def train(
        self, systems: Mapping[str, Sequence[str]], common: Sequence[str], seeds: Sequence[int]
    ) -> dict[str, list[Facts]]:
        """Facts about trained systems: by name, a list over seeds.

        A system is a list of overrides of `scripts/train.py` beside the common ones: `["model=gru"]`.
        """

        def job(name: str, seed: int) -> Job:
            config = self.compose([*common, *systems[name], f"seed={seed}"])
            training_config = {key: value for key, value in config.items() if key not in ("decoding", "evaluation")}
            key = digest([training_config, code_digest(*TRAINING)])
            run = self.folder / "runs" / f"{config['model']['name']}-s{config['seed']}-{key}"
            job = partial(self._train, config, str(run))
            if not run.exists():  # removed by the user: its cached facts are stale
                self._file(job).unlink(missing_ok=True)
            return job

        return self.run_seeds(systems, seeds, job, device=pick_device(self.compose(common)["device"]))

    def _file(self, job: Job) -> Path:
        function = f"{job.func.__module__}.{job.func.__qualname__}"
        training = job.func == self._train  # its module holds the whole command
        code = code_digest(*((*TRAINING, *TRANSLATIONS, *SCORES) if training else (job.func.__module__,)))
        key = digest([code, function, job.args, job.keywords])
        return self.folder / "parts" / f"{job.func.__name__}-{key}.json"


def _run_and_store(job: Job, path: Path) -> None:
    start = time.perf_counter()
    result = job()
    write_json(path, {"seconds": round(time.perf_counter() - start, 1), "result": result})


def digest(values: Any) -> str:
    """A short hash of JSON values and dataclasses of them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=asdict).encode()).hexdigest()[:12]

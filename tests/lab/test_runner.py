"""Jobs run once; a stopped runner resumes; a changed job runs again."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s.lab import runner as module
from s2s.lab.runner import JobRunner, StoppedError


def traced(path: str, value: int) -> dict[str, int]:
    """A job that leaves a line in a file."""
    with Path(path).open("a") as file:
        file.write(f"{value}\n")
    return {"value": value}


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    values = dict(one.split("=") for one in overrides)
    return {"seed": "1", "device": "cpu", **values, "model": {"name": values["model"]}}


def train(values: dict[str, Any], path: str) -> dict[str, Any]:
    Path(path).mkdir(parents=True)  # fails the second time
    return {"run": path, "seed": values["seed"]}


def slow() -> None:
    time.sleep(0.15)


@pytest.fixture
def runner(tmp_path: Path) -> JobRunner:
    return JobRunner(tmp_path / "lab", compose, train)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def test_jobs_run_once(runner: JobRunner, trace: Path) -> None:
    jobs = {str(n): partial(traced, str(trace), n) for n in (1, 2)}
    assert runner.run(jobs) == {"1": {"value": 1}, "2": {"value": 2}}
    jobs |= {str(n): partial(traced, str(trace), value=n) for n in (3, 4)}
    assert runner.run(jobs) == {str(n): {"value": n} for n in (1, 2, 3, 4)}
    assert runner.run(jobs)["1"] == {"value": 1}
    assert trace.read_text().split() == ["1", "2", "3", "4"]


def test_results_over_seeds(runner: JobRunner, trace: Path) -> None:
    results = runner.run_seeds("ab", [1, 2], lambda name, seed: partial(traced, str(trace), seed + 10 * (name == "b")))
    assert results == {"a": [{"value": 1}, {"value": 2}], "b": [{"value": 11}, {"value": 12}]}


def test_two_names_of_one_job_are_one_job(runner: JobRunner, trace: Path) -> None:
    results = runner.run({name: partial(traced, str(trace), 7) for name in ("a", "b")})
    assert results == {"a": {"value": 7}, "b": {"value": 7}}
    assert trace.read_text().split() == ["7"]


def test_results_from_before_a_stop_are_cached(tmp_path: Path, trace: Path) -> None:
    def first_then_stop(jobs: Mapping[str, Callable[[], object]], workers: int) -> int:
        next(iter(jobs.values()))()
        return 143

    jobs = {str(n): partial(traced, str(trace), n) for n in (1, 2)}
    with pytest.raises(StoppedError) as error:
        JobRunner(tmp_path / "lab", compose, train, first_then_stop).run(jobs)
    assert error.value.exit_code == 143
    JobRunner(tmp_path / "lab", compose, train).run(jobs)
    assert trace.read_text().split() == ["1", "2"]


def test_runs_of_one_configuration_are_shared(runner: JobRunner) -> None:
    first = runner.train({"plain": []}, ["model=lstm"], [1, 2])
    again = runner.train({"full cell": ["model=lstm"]}, ["model=gru"], [1, 3])
    assert [run["seed"] for run in first["plain"]] == ["1", "2"]
    assert again["full cell"][0]["run"] == first["plain"][0]["run"]
    assert len({run["run"] for runs in (*first.values(), *again.values()) for run in runs}) == 3


def test_a_change_of_evaluation_alone_trains_nothing(runner: JobRunner) -> None:
    first = runner.train({"a": []}, ["model=lstm"], [1])["a"][0]["run"]
    again = JobRunner(runner.folder, compose, lambda values, path: {"run": path, "scored": values["evaluation"]})
    assert again.train({"a": ["evaluation=other"]}, ["model=lstm"], [1])["a"] == [{"run": first, "scored": "other"}]


def test_a_removed_run_is_trained_again(runner: JobRunner) -> None:
    path = Path(runner.train({"a": []}, ["model=lstm"], [1])["a"][0]["run"])
    path.rmdir()
    runner.train({"a": []}, ["model=lstm"], [1])
    assert path.is_dir()


def test_trainings_take_turns_on_a_gpu(tmp_path: Path, monkeypatch: Any) -> None:
    calls: list[int] = []

    def executor(jobs: Mapping[str, Callable[[], object]], workers: int) -> int:
        calls.append(workers)
        return module.run_serially(jobs, workers)

    monkeypatch.setattr(module, "pick_device", torch.device)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for device, workers, expected in (("cpu", None, 3), ("meta", None, 1), ("meta", 2, 2), ("cpu", 9, 3)):
        runner = JobRunner(tmp_path / f"{device} {workers}", compose, train, executor, workers)
        runner.train({"a": []}, ["model=lstm", f"device={device}"], range(3))
        assert calls.pop() == expected


def test_other_code_runs_the_job_again(runner: JobRunner, trace: Path, monkeypatch: Any) -> None:
    job = partial(traced, str(trace), 7)
    runner.run({"a": job})
    monkeypatch.setattr(module, "code_digest", lambda *modules: "another")
    runner.run({"a": job})
    assert trace.read_text().split() == ["7", "7"]


def test_the_time_of_jobs_is_cached_with_them(runner: JobRunner, tmp_path: Path) -> None:
    runner.run({"a": partial(slow), "the same": partial(slow)})
    assert 0.1 <= runner.seconds < 0.3
    again = JobRunner(tmp_path / "lab", compose, train)
    again.run({"a": partial(slow)})
    assert again.seconds == runner.seconds

"""Jobs are done once; what is stopped goes on; what is changed is done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s.lab import bench as module
from s2s.lab.bench import Bench, StoppedError


def noted(path: str, value: int) -> dict[str, int]:
    """A job that leaves a trace of having been done."""
    with Path(path).open("a") as file:
        file.write(f"{value}\n")
    return {"value": value}


def composed(typed: Sequence[str]) -> dict[str, Any]:
    values = dict(one.split("=") for one in typed)
    return {"seed": "1", "device": "cpu", **values, "model": {"name": values["model"]}}


def trained(values: dict[str, Any], path: str) -> dict[str, Any]:
    folder = Path(path)
    folder.mkdir(parents=True)  # fails at a second time
    return {"run": path, "seed": values["seed"]}


def slow() -> None:
    time.sleep(0.15)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "lab", composed, trained)


def test_jobs_are_done_once(bench: Bench, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    jobs = {str(n): partial(noted, str(trace), n) for n in (1, 2)}
    assert bench.each(jobs) == {"1": {"value": 1}, "2": {"value": 2}}
    jobs |= {str(n): partial(noted, str(trace), value=n) for n in (3, 4)}
    assert bench.each(jobs) == {str(n): {"value": n} for n in (1, 2, 3, 4)}
    assert bench.each(jobs)["1"] == {"value": 1}
    assert trace.read_text().split() == ["1", "2", "3", "4"]


def test_two_names_of_one_job_are_one_job(bench: Bench, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    found = bench.each({name: partial(noted, str(trace), 7) for name in ("a", "b")})
    assert found == {"a": {"value": 7}, "b": {"value": 7}}
    assert trace.read_text().split() == ["7"]


def test_what_was_done_before_a_stop_is_kept(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    def first_then_stop(jobs: Mapping[str, Callable[[], object]], at_once: int) -> int:
        next(iter(jobs.values()))()
        return 143

    jobs = {str(n): partial(noted, str(trace), n) for n in (1, 2)}
    with pytest.raises(StoppedError) as stopped:
        Bench(tmp_path / "lab", composed, trained, first_then_stop).each(jobs)
    assert stopped.value.exit_code == 143
    Bench(tmp_path / "lab", composed, trained).each(jobs)
    assert trace.read_text().split() == ["1", "2"]


def test_runs_of_one_configuration_are_shared(bench: Bench) -> None:
    first = bench.trained({"plain": ["model=lstm"], "other": ["model=lstm", "seed=2"]})
    again = bench.trained({"full cell": ["model=lstm"], "third": ["model=lstm", "seed=3"]})
    assert again["full cell"]["run"] == first["plain"]["run"]
    assert len({facts["run"] for facts in (*first.values(), *again.values())}) == 3


def test_what_only_changes_the_scoring_trains_nothing_anew(bench: Bench) -> None:
    first = bench.trained({"a": ["model=lstm"]})["a"]["run"]
    again = Bench(bench.folder, composed, lambda values, path: {"run": path, "scored": values["evaluation"]})
    assert again.trained({"a": ["model=lstm", "evaluation=other"]})["a"] == {"run": first, "scored": "other"}


def test_a_run_that_was_removed_is_trained_again(bench: Bench) -> None:
    path = Path(bench.trained({"a": ["model=lstm"]})["a"]["run"])
    path.rmdir()
    bench.trained({"a": ["model=lstm"]})
    assert path.is_dir()


def test_trainings_that_would_share_a_gpu_take_turns(tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[int] = []

    def side_by_side(jobs: Mapping[str, Callable[[], object]], at_once: int) -> int:
        seen.append(at_once)
        return module.one_after_the_other(jobs, at_once)

    monkeypatch.setattr(module, "pick_device", torch.device)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for device, jobs, expected in (("cpu", None, 3), ("meta", None, 1), ("meta", 2, 2), ("cpu", 9, 3)):
        bench = Bench(tmp_path / f"{device} {jobs}", composed, trained, side_by_side, jobs)
        bench.trained({str(n): ["model=lstm", f"seed={n}", f"device={device}"] for n in range(3)})
        assert seen.pop() == expected


def test_what_an_earlier_version_found_is_found_again(bench: Bench, tmp_path: Path, monkeypatch: Any) -> None:
    trace = tmp_path / "trace"
    job = partial(noted, str(trace), 7)
    bench.each({"a": job})
    monkeypatch.setattr(module, "__version__", "another")
    bench.each({"a": job})
    assert trace.read_text().split() == ["7", "7"]


def test_the_time_of_jobs_is_kept_with_them(bench: Bench, tmp_path: Path) -> None:
    bench.each({"a": partial(slow), "the same": partial(slow)})
    assert 0.1 <= bench.seconds < 0.3
    again = Bench(tmp_path / "lab", composed, trained)
    again.each({"a": partial(slow)})
    assert again.seconds == bench.seconds

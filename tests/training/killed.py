"""Runs the toy in forked processes that kill themselves; `test_resume` starts this script.

    python -m tests.training.killed FOLDER OPTIONS_JSON SHARE SHARES

An uninterrupted run counts the kill points: each file operation and each update. Then, for every kill point of this
share, a new run is killed there with SIGKILL and run again until it ends. Prints the number of kill points and those
whose outcome differs from the uninterrupted run's.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from s2s.training.step import Updater
from tests.training.toy import events, make_trainer

WATCHED = ("fsync", "replace", "unlink", "rmdir", "mkdir", "open")


def in_fork(work: Callable[[], None]) -> int:
    """Does `work` in a fork of this process; returns its exit status, negative for the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(point: int, report: Path) -> None:
    """Runs the toy, dies at kill point number `point`, and otherwise writes the number of kill points to `report`."""
    count = 0

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return wrapper

    os.fsync = lambda fd: None  # written data survives the death of a process; saves half of the time
    for name in WATCHED:
        setattr(os, name, watched(getattr(os, name)))
    Updater.update = watched(Updater.update)  # type: ignore[method-assign]
    run(report.parent)
    report.write_text(str(count))


def run(folder: Path) -> None:
    make_trainer(folder / "run", **OPTIONS).fit()


def outcome(folder: Path) -> tuple[bytes, object, list[str], bytes]:
    path = folder / "run"
    state = json.loads((path / "training" / "latest.json").read_text())["folder"]
    tensors = (path / "training" / state / "state.safetensors").read_bytes()
    names = sorted(str(p.relative_to(path)) for p in path.rglob("*") if not p.name.startswith("step-"))
    return (path / "model.safetensors").read_bytes(), events(path), [n for n in names if "step-" not in n], tensors


if __name__ == "__main__":
    torch.set_num_threads(1)
    root, OPTIONS, share, shares = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    make_trainer(root / "warm-up", **OPTIONS).fit()  # all forks inherit what torch imports at its first update
    whole = root / "whole"
    whole.mkdir(parents=True)
    assert in_fork(lambda: die_at(-1, whole / "count")) == 0
    points = int((whole / "count").read_text())
    expected, bad, deaths = outcome(whole), [], 0
    for point in range(1 + share, points + 1, shares):
        folder = root / f"killed-{point}"
        folder.mkdir()
        status = in_fork(lambda: die_at(point, folder / "count"))  # noqa: B023
        deaths += status == -signal.SIGKILL
        if point % 2:  # killed a second time while it resumes
            again = random.Random(point).randint(1, 30)
            in_fork(lambda: die_at(again, folder / "count"))  # noqa: B023
        if in_fork(lambda: run(folder)) != 0 or outcome(folder) != expected:  # noqa: B023
            bad.append(point)
        shutil.rmtree(folder)
    print(json.dumps({"points": points, "deaths": deaths, "bad": bad}))

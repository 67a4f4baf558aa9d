"""Parallel jobs: an error that several have is reported once, and the exit code says what stopped them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from s2s.commands.parallel_jobs import run_parallel_jobs
from s2s.errors import S2SError
from tests.commands.conftest import hear_interrupts


def fail(folder: Path, name: str, message: str) -> None:
    """Fails when the other is about to, and cannot be stopped before it has said why."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / name).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.01)
    raise S2SError(message)


@pytest.mark.parametrize(
    ("messages", "lines"),
    [
        pytest.param(("bad data", "bad data"), 1, marks=pytest.mark.slow),
        pytest.param(("first alone", "second alone"), 2, marks=pytest.mark.slow),
    ],
)
def test_an_error_is_said_once(
    messages: tuple[str, str], lines: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = {name: partial(fail, tmp_path, name, text) for name, text in zip("ab", messages, strict=True)}
    assert run_parallel_jobs(jobs, 2) == 2
    said = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(said) == lines
    assert set(said) <= {f"a: error: {messages[0]}", f"b: error: {messages[1]}"}


def wait(begun: Path, number: int | None) -> None:
    """Ends by this signal; without one it waits for somebody else to end it."""
    begun.touch()
    if number is not None:
        os.kill(os.getpid(), number)
    time.sleep(60)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 137), (None, 143)])
def test_the_exit_code_says_which_signal_ended_a_job(number: int | None, code: int, tmp_path: Path) -> None:
    def stop() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    if number is None:  # this process is told to stop, and tells its jobs
        threading.Thread(target=stop, daemon=True).start()
    jobs = {name: partial(wait, tmp_path / "begun", number) for name in "ab"}
    assert run_parallel_jobs(jobs, 1) == code


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_ctrl_c_is_heard_while_the_first_job_starts(seconds: float, root: Path, tmp_path: Path) -> None:
    """Its process waits seconds for imports; the signal goes to the whole group, as in a terminal."""
    program = (
        "import time\nfrom functools import partial\nfrom s2s.commands.parallel_jobs import run_parallel_jobs\n"
        "if __name__ == '__main__':\n    print('ready', flush=True)\n"
        "    raise SystemExit(run_parallel_jobs({'a': partial(time.sleep, 60)}, 1))\n"
    )
    (tmp_path / "program.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == (130 if seconds else process.returncode), stderr.decode()
    assert process.returncode != 0
    assert b"leaked" not in stderr

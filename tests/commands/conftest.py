"""Scripts as a user calls them, and one small trained run that several tests share.

`inside` runs a script within the process of the tests, which saves the seconds that a new process takes to import
torch. Slow are the tests that need processes of their own: to kill them, or to see that each script works as one.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import datasets
import pytest
from filelock import FileLock

from s2s.commands import compare, lab
from s2s.commands.console import BAD_INPUT, one_line, run_command
from s2s.errors import S2SError

Script = Callable[..., subprocess.CompletedProcess[bytes]]


def hear_interrupts() -> None:
    """For a process about to start: signals reach it even where a shell (background jobs) or `nohup` ignores them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


# A corpus, a model and a schedule that train in a second, and learn something.
CORPUS = [
    "data.train_pairs=300",
    "data.validation_pairs=12",
    "data.test_pairs=24",
    "data.longest=24",
    "data.tokenizer.vocab_size=300",
]
SMALL = [
    *CORPUS,
    "model.embedding_size=16",
    "training.max_steps=12",
    "training.validate_every=6",
    "training.save_every=4",
    "training.batch_tokens=600",
    "training.log_every=3",
    "training.precision=fp32",  # the same on every processor
    "device=cpu",
]
SMALL_RECURRENT = ["model.encoder.hidden_size=12", "model.decoder.hidden_size=14", *SMALL]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what all processes of a test run share: pytest-xdist gives each a base folder within one."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def environment(shared: Path) -> dict[str, str]:
    return {**os.environ, "HF_HOME": str(shared / "hub"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def script(root: Path, environment: dict[str, str]) -> Script:
    """`script("train", "model=gru", cwd=folder, stdin=b"…")` runs scripts/train.py and returns what it did."""

    def run(name: str, *arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, str(root / "scripts" / f"{name}.py"), *arguments]
        return subprocess.run(
            command, cwd=cwd, input=stdin, capture_output=True, env=environment, timeout=300, check=False
        )

    return run


@pytest.fixture(scope="session")
def trained(script: Script, shared: Path) -> Path:
    """A run directory, for reading alone; the words in it are nonsense, which makes them no easier to get right."""
    folder = shared / "trained"
    with FileLock(shared / "trained.lock"):
        if not (folder / "run").exists():
            folder.mkdir(exist_ok=True)
            done = script("train", *SMALL_RECURRENT, "run_dir=new", cwd=folder)
            assert done.returncode == 0, done.stderr.decode()
            assert done.stdout == b""
            (folder / "new").rename(folder / "run")
    return folder / "run"


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """The trained run, as `run` in the test's own folder."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


class Done(NamedTuple):
    """What a script did that ran inside of the tests' own process."""

    code: object
    output: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.output.decode()

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


@pytest.fixture
def inside(
    root: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Callable[..., Done]:
    """As `script`, in this process."""

    def run(name: str, *arguments: str, cwd: Path, stdin: bytes = b"") -> Done:
        script = str(root / "scripts" / f"{name}.py")
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setenv("PYTHONSAFEPATH", "")  # a script sets it for its own process; other tests have this one, too
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path(environment["HF_HOME"]))
        capfdbinary.readouterr()
        code: object = 0
        logger = logging.getLogger()
        handlers, level = list(logger.handlers), logger.level
        try:
            run_command(name)
        except SystemExit as leaving:
            code = leaving.code
        finally:  # a script sets up logging for its process; other tests have this one, too
            logger.handlers[:], logger.level = handlers, level
        output, said = capfdbinary.readouterr()
        return Done(code, output, said.decode())

    return run


After = Callable[[str], object]


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> list[After]:
    """`compare` and `lab` carry their jobs out here, one after the other, in place of processes of their own.

    What is in the list is called with the name of each job that is done, after the command has heard of it.
    """
    listeners: list[After] = []

    def run_parallel_jobs(
        jobs: Mapping[str, Callable[[], object]], at_once: int, done: After = lambda name: None
    ) -> int:
        for name, job in jobs.items():
            try:
                pickle.loads(pickle.dumps(job))()  # as on its way into another process
            except S2SError as error:
                sys.stderr.write(f"{name}: error: {one_line(error)}\n")
                return BAD_INPUT
            done(name)
            for listener in listeners:
                listener(name)
        return 0

    for command in (compare, lab):
        monkeypatch.setattr(command, "run_parallel_jobs", run_parallel_jobs)
    return listeners

"""Scripts as a user calls them, and one small trained run that several tests share."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import datasets
import pytest

from s2s.commands.console import run_script

Script = Callable[..., subprocess.CompletedProcess[bytes]]


def hear_interrupts() -> None:
    """For a process about to start: Ctrl-C reaches it even where a shell has it ignored, as for background jobs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# A corpus, a model and a schedule that train in seconds, and learn something.
SMALL = [
    "data.train_pairs=300",
    "data.validation_pairs=20",
    "data.test_pairs=24",
    "data.tokenizer.vocab_size=300",
    "model.embedding_size=16",
    "training.max_steps=12",
    "training.validate_every=6",
    "training.save_every=4",
    "training.batch_tokens=600",
    "training.log_every=3",
    "device=cpu",
]
SMALL_RECURRENT = ["model.encoder.hidden_size=12", "model.decoder.hidden_size=14", *SMALL]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cache = tmp_path_factory.mktemp("hub")
    return {**os.environ, "HF_HOME": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


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
def trained(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory; the words in it are nonsense, which makes them no easier to get right."""
    folder = tmp_path_factory.mktemp("trained")
    done = script("train", *SMALL_RECURRENT, "run_dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    return folder / "run"


class Done(NamedTuple):
    """What a script did that ran inside of the tests' own process."""

    code: object
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


@pytest.fixture
def inside(
    root: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """As `script`, without the seconds that a new process takes to import torch."""

    def run(name: str, *arguments: str, cwd: Path) -> Done:
        script = str(root / "scripts" / f"{name}.py")
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path(environment["HF_HOME"]))
        capfd.readouterr()
        code: object = 0
        logger = logging.getLogger()
        handlers, level = list(logger.handlers), logger.level
        try:
            run_script(script, getattr(importlib.import_module(f"s2s.commands.{name}"), name))
        except SystemExit as leaving:
            code = leaving.code
        finally:  # a script sets up logging for its process; other tests have this one, too
            logger.handlers[:], logger.level = handlers, level
        return Done(code, *capfd.readouterr())

    return run

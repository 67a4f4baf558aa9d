"""Processes that run s2s or a peer, each in its own environment, and take turns."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2s.errors import S2SError

log = logging.getLogger(__name__)

PEERS = Path(__file__).parent / "peers"
MODULES = {
    "s2s": "ours",
    "torch": "plain",
    "joeynmt": "with_joeynmt",
    "transformers": "with_transformers",
    "ctranslate2": "with_ctranslate2",
}
# What each needs beside torch; none: this environment has all. JoeyNMT's package does not say all that it imports.
NEEDS = {
    "joeynmt": ["joeynmt==2.3.0", "importlib_metadata", "setuptools", "sentencepiece==0.2.0"],
    "transformers": ["transformers>=4.50,<5"],
    "ctranslate2": ["ctranslate2>=4.5,<5"],
}

# Last words of a process that got no more memory: from torch (CPU, GPU), Python, C++, and for a thread.
NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "MemoryError",
    "bad_alloc",
    "Thread creation failed",
    "start new thread",
)

Arrays = dict[str, NDArray[np.int64]]


class NoMemoryLeftError(S2SError):
    """A process ended because it needed more memory than it could have."""


def environment(program: str, folder: Path) -> str:
    """The Python interpreter that has this program; its environment is made under `folder` when it is not there.

    Raises:
        S2SError: it cannot be made.
    """
    if program not in NEEDS:
        return sys.executable
    place = folder / program
    python, done = place / "bin" / "python", place / "complete"
    if not done.exists():
        log.info("making an environment for %s in %s", program, place)
        place.mkdir(parents=True, exist_ok=True)
        venv.create(place, with_pip=True, clear=True)
        wanted = [f"torch=={torch.__version__.split('+')[0]}", "numpy", *NEEDS[program]]
        installed = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True, check=False
        )
        if installed.returncode:
            last = (installed.stderr.strip().splitlines() or ["no message"])[-1]
            raise S2SError(f"peer={program}: its environment in {place} cannot be made ({last})")
        done.touch()
    return str(python)


def write_batches(path: Path, batches: Sequence[Mapping[str, Any]]) -> None:
    """What `peers/worker.py` reads."""
    np.savez(path, **{f"{n}.{name}": array for n, batch in enumerate(batches) for name, array in batch.items()})


class Program:
    """A process of `peers/worker.py` that waits for its turn.

    Args:
        name: s2s or a peer.
        python: the interpreter of its environment.
        given: what it builds and does; see the modules in `peers`.
        folder: for the specification, and for what the process says on stderr.
        batches: the file of `write_batches`.

    Attributes:
        facts: what it says of its model.

    Raises:
        NoMemoryLeftError: it needs more memory than there is.
        S2SError: the process ends before it is ready, with its last words.
    """

    def __init__(self, name: str, python: str, given: Mapping[str, Any], folder: Path, batches: Path) -> None:
        self.name = name
        specification, said = folder / f"{name}.json", folder / f"{name}.err"
        specification.write_text(json.dumps(given), encoding="utf-8")
        self._said = said
        with said.open("w") as stderr:
            self._process = subprocess.Popen(
                [
                    python,
                    str(PEERS / "worker.py"),
                    str(PEERS / f"{MODULES[name]}.py"),
                    str(specification),
                    str(batches),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.facts: dict[str, Any] = self._answer()

    def run(self) -> float:
        """One pass: its seconds."""
        return self._asked("seconds")["seconds"]  # type: ignore[no-any-return]

    def memory(self) -> float | None:
        """One pass that is not timed: MiB at most during it, above what the process had before the model was built.

        On a GPU what torch had given out there. None where the system does not say.
        """
        return self._asked("memory")["memory"]  # type: ignore[no-any-return]

    def operations(self) -> int:
        """One pass of s2s that is not timed: its floating-point operations in products.

        Counting leaves memory in pieces, so it comes after everything else that is measured.
        """
        return self._asked("operations")["operations"]  # type: ignore[no-any-return]

    def _asked(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{what}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; its last words say why
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            last = (self._said.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
            # Linux kills with 9 when there is no memory left at all.
            kind = NoMemoryLeftError if code == -signal.SIGKILL or any(w in last for w in NO_MEMORY) else S2SError
            raise kind(f"{self.name} cannot do this: {last if code >= 0 else f'killed by signal {-code}; {last}'}")
        return dict(json.loads(line))

"""Processes that run s2s or a peer toolkit, each in its own environment, on demand."""

from __future__ import annotations

import json
import logging
import os
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

from s2s.data.batching import Batch, collate
from s2s.data.subwords import EOS
from s2s.errors import S2SError

log = logging.getLogger(__name__)

WORKER = Path(__file__).parent / "peers" / "worker.py"
PROGRAMS = ("s2s", "torch", "joeynmt", "transformers", "ctranslate2")  # each with a module in peers/
# Packages of a peer besides torch; a peer without an entry runs in this environment. JoeyNMT's package does not declare
# all that it imports.
REQUIREMENTS = {
    "joeynmt": ["joeynmt==2.3.0", "importlib_metadata", "setuptools", "sentencepiece==0.2.0"],
    "transformers": ["transformers>=4.50,<5"],
    "ctranslate2": ["ctranslate2>=4.5,<5"],
}

# Last messages of a process that ran out of memory: from torch (CPU, GPU), Python, C++, and for a thread.
OUT_OF_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "out of memory", "MemoryError", "bad_alloc"),
    *("Thread creation failed", "start new thread"),
)

Arrays = dict[str, NDArray[np.int64]]


class OutOfMemoryError(S2SError):
    """A process ended because it needed more memory than it could have."""


def environment(program: str, folder: Path) -> str:
    """Returns the Python interpreter of a program's environment, which is created below `folder` if it is missing.

    Raises:
        S2SError: the environment cannot be created.
    """
    if program not in REQUIREMENTS:
        return sys.executable
    path = folder / program
    python, marker = str(path / "bin" / "python"), path / "complete"
    if not marker.exists():
        log.info("creating an environment for %s in %s", program, path)
        path.mkdir(parents=True, exist_ok=True)
        venv.create(path, with_pip=True, clear=True)
        packages = [f"torch=={torch.__version__.split('+')[0]}", "numpy", *REQUIREMENTS[program]]
        command = [python, "-m", "pip", "install", "--quiet", *packages]
        pip = subprocess.run(command, capture_output=True, text=True, check=False)
        if pip.returncode:
            last = (pip.stderr.strip().splitlines() or ["no message"])[-1]
            raise S2SError(f"peer={program}: its environment in {path} cannot be made ({last})")
        marker.touch()
    return python


def arrays_of(batch: Batch) -> Arrays:
    """Returns the arrays of a batch that all programs read."""
    arrays = {"source": batch.source, "input": batch.target_input, "target": batch.target}
    return {name: tensor.numpy() for name, tensor in arrays.items()} | {"lengths": np.array(batch.source_lengths)}


def random_batch(random: np.random.Generator, vocabulary: int, *lengths: NDArray[np.int64]) -> Arrays:
    """Returns a batch of random tokens with these source and target lengths."""
    high = max(EOS + 2, vocabulary)
    sides = [random.integers(EOS + 1, high, (len(side), int(side.max()) + 1)) for side in lengths]
    source, target = ([row[:n] for row, n in zip(*pair, strict=True)] for pair in zip(sides, lengths, strict=True))
    return arrays_of(collate(source, target, range(len(source))))


def write_batches(path: Path, batches: Sequence[Mapping[str, Any]]) -> None:
    """Writes the batches as `peers/worker.py` reads them."""
    np.savez(path, **{f"{n}.{name}": array for n, batch in enumerate(batches) for name, array in batch.items()})


def specification(task: str, shape: Any, device: torch.device, **values: Any) -> dict[str, Any]:
    """Returns what a program reads: task, shape, vocabulary, precision, memory limit (MiB), sections of the config."""
    machine = {"threads": torch.get_num_threads(), "device": str(device), "memory": None}
    return {"task": task, "shape": dict(shape), **machine, **values}


class Program:
    """A process of `peers/worker.py`, which makes a pass over the batches on request.

    Args:
        name: s2s or a peer.
        python: the interpreter of its environment.
        spec: see `specification`.
        folder: for the specification and the process's stderr.
        batches: a file of `write_batches`.

    Attributes:
        facts: the program's facts about its model.

    Raises:
        OutOfMemoryError: the process needs more memory than there is.
        S2SError: the process ends before it is ready; the error has its last line.
    """

    def __init__(self, name: str, python: str, spec: Mapping[str, Any], folder: Path, batches: Path) -> None:
        self.name = name
        path, self._stderr = folder / f"{name}.json", folder / f"{name}.err"
        path.write_text(json.dumps(spec), encoding="utf-8")
        # The worker finds the modules beside it, which the setting for processes that run modules would prevent.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
        with self._stderr.open("w") as stderr:
            self._process = subprocess.Popen(
                [python, str(WORKER), f"with_{name}", str(path), str(batches)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
            )
        self.facts = self._answer()

    def run(self) -> float:
        """Makes a pass and returns its seconds."""
        return float(self._request("seconds"))

    def memory(self) -> float | None:
        """Makes an untimed pass and returns its peak memory in MiB, less the memory before the model was built.

        On a GPU it is the peak of torch's allocations there, in all passes so far. None if the system does not report
        it.
        """
        return self._request("memory")  # type: ignore[no-any-return]

    def operations(self) -> int:
        """Makes an untimed pass of s2s and returns the floating-point operations of its matrix multiplications.

        Counting fragments the memory, so it comes after all other measurements.
        """
        return int(self._request("operations"))

    def profile(self) -> list[dict[str, Any]]:
        """Makes an untimed pass of s2s and returns the operations that take most time: name, milliseconds, calls."""
        return list(self._request("profile"))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _request(self, quantity: str) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{quantity}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended; its last line says why
        return self._answer()[quantity]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return dict(json.loads(line))
        code = self._process.wait()
        last = (self._stderr.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
        # Linux kills with signal 9 when the whole machine is out of memory.
        out_of_memory = code == -signal.SIGKILL or any(message in last for message in OUT_OF_MEMORY)
        error = OutOfMemoryError if out_of_memory else S2SError
        raise error(f"{self.name} cannot do this: {last if code >= 0 else f'killed by signal {-code}; {last}'}")

"""Parallel jobs, each in a process of its own with its share of the CPU cores.

A small model gains little from a second core, as its matrix multiplications are too small to share; two models in
parallel run nearly twice as fast. Each line that a job writes to stderr appears behind its name; an error that several
jobs have is reported once. A signal to this process reaches each job once; jobs also stop when this process is gone.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from typing import TextIO

import torch
from tqdm import tqdm

from s2s.commands.console import BAD_INPUT, LineFormatter, TqdmHandler, one_line
from s2s.durations import duration
from s2s.errors import S2SError
from s2s.training.interrupt import Interrupted, Signals

log = logging.getLogger(__name__)

SIGNAL = 128  # an exit code above says which signal ended a process


@dataclass(frozen=True)
class _Running:
    """A job's process, and the pipe for its error."""

    process: ForkServerProcess | SpawnProcess
    errors: connection.Connection


def run_parallel_jobs(
    jobs: Mapping[str, Callable[[], object]], at_once: int, done: Callable[[str], object] = lambda name: None
) -> int:
    """Runs picklable functions, at most `at_once` at a time, in order; the first that fails stops the others.

    Args:
        done: called in this process with the name of each job that succeeded, after the next one was started.

    Returns:
        0, or the exit code of what stopped them: that of the failed job, or of the signal.
    """
    threads = max(1, torch.get_num_threads() // at_once)
    waiting, running, code = list(jobs.items()), dict[str, _Running](), 0
    reported, succeeded = set[str](), list[str]()
    began = time.monotonic()
    with Signals() as signals, ExitStack() as stack:
        stack.callback(_stop, running)  # after an error in `done`; else none is left
        while running or (waiting and not code):
            while waiting and not code and len(running) < at_once:
                finished, (name, job) = len(jobs) - len(waiting) - len(running), waiting.pop(0)
                rest = (time.monotonic() - began) / finished * (len(jobs) - finished) if finished else None
                left = "" if rest is None else f", about {duration(rest)} left"
                log.info("%s: %d of %d%s", name, len(jobs) - len(waiting), len(jobs), left)
                running[name] = _start(name, job, threads)
            while succeeded and not code:
                done(succeeded.pop(0))
            connection.wait([job.process.sentinel for job in running.values()], timeout=0.5)
            if signals.caught is not None and not code:
                code = SIGNAL + signals.caught
                _stop(running)
            for name, ended in list(running.items()):
                status = ended.process.exitcode
                if status is not None:
                    del running[name]
                    error = _error(ended)
                    if error and error not in reported:
                        reported.add(error)
                        tqdm.write(f"{name}: error: {error}", file=sys.stderr)
                    if not status:
                        succeeded.append(name)
                    elif not code:
                        code = status if status > 0 else SIGNAL - status
                        _stop(running)
        while succeeded and not code:
            done(succeeded.pop(0))
    return code


def _start(name: str, job: Callable[[], object], threads: int) -> _Running:
    context = _context()
    errors, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(name, job, threads, sender), name=name)
    try:
        if isinstance(context, ForkServerContext):
            with _without_ctrl_c():
                forkserver.ensure_running()
            process.start()  # the first one waits seconds for the server's imports, and must not miss a Ctrl-C
        else:
            with _without_ctrl_c():
                process.start()
    finally:
        sender.close()
    return _Running(process, errors)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Context in which a new process starts, and later those that it forks, that Ctrl-C does not reach.

    It reaches all processes of a terminal, and jobs must hear of it once, from here, as SIGTERM. A signal that is
    blocked or ignored stays so in a new process; a blocked one reaches this process afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        yield
        signal.signal(signal.SIGINT, handler)
        return
    resource_tracker.ensure_running()  # else the server starts it, and it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _context() -> ForkServerContext | SpawnContext:
    """The start method: on Linux forks of a server process that has imported everything and computed nothing.

    Importing torch, datasets and the rest of training takes seconds. A fork of this process would lack torch's threads.
    On macOS, system libraries do not survive forks.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["s2s.commands.train", "s2s.commands.evaluate", "torch._dynamo"])  # optimisers' own
    return context


def _error(ended: _Running) -> str:
    """The error of a job that has ended; empty if it sent none."""
    with ended.errors as errors:
        try:
            return str(errors.recv()) if errors.poll() else ""
        except EOFError:
            return ""


def _stop(running: Mapping[str, _Running]) -> None:
    for job in running.values():
        job.process.terminate()


def _run(name: str, job: Callable[[], object], threads: int, errors: connection.Connection) -> None:
    """The life of a job's process."""
    sys.stderr = NamedLines(sys.stderr, name)
    tqdm.set_lock(threading.RLock())  # its own is one between processes, which a killed job would leave behind
    torch.set_num_threads(threads)
    handler = TqdmHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    threading.Thread(target=_follow, daemon=True).start()
    try:
        job()
    except S2SError as error:
        errors.send(one_line(error))
        sys.exit(BAD_INPUT)
    except Interrupted as stopped:
        log.warning("%s", stopped)
        sys.exit(stopped.exit_code)


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class NamedLines(io.TextIOBase):
    """A stream that passes whole lines on, each behind a name, in one piece."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self.stream = stream
        self.name = name
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            self.stream.write("".join(f"{self.name}: {line}\n" if line else "\n" for line in lines))
            self.stream.flush()
        return len(text)

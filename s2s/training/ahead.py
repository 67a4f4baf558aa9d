"""Micro-batches made while the model works on those before them.

One thread does all that touches the data, in the order in which it is asked for, so `data` need not be safe for several
threads. What a batch holds follows from its epoch and position, so making it early changes nothing. The thread is no
reason for the process to stay: it may be in the midst of tokenising a whole epoch when a run is stopped.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import torch

from s2s.data.batching import Batch

T = TypeVar("T")


class MicroBatches(Protocol):
    """What training needs of the data; `s2s.data.batching.TrainingData` has it."""

    def num_batches(self, epoch: int) -> int: ...

    def batch(self, epoch: int, position: int) -> Batch: ...


class BatchesAhead:
    """The micro-batches of `data`, those that were announced made in advance.

    Args:
        data: is used by this object alone from now on.
        device: where batches go; for a GPU they are put into page-locked memory, from where it copies by itself.
        change: done to each batch before that.

    Attributes:
        waited: seconds for which a caller had to wait in all.
    """

    def __init__(
        self, data: MicroBatches, device: torch.device, change: Callable[[Batch], Batch] | None = None
    ) -> None:
        self._data, self._pin, self._change = data, device.type == "cuda", change
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._coming: dict[tuple[int, int], Future[Batch]] = {}
        self.waited = 0.0
        threading.Thread(target=self._work, name="batches", daemon=True).start()

    def announce(self, epoch: int, position: int) -> None:
        """This batch will be asked for."""
        if (epoch, position) not in self._coming:
            self._coming[epoch, position] = self._later(lambda: self._make(epoch, position))

    def batch(self, epoch: int, position: int) -> Batch:
        """As `data.batch`; it is not kept here any longer."""
        self.announce(epoch, position)
        return self._await(self._coming.pop((epoch, position)))

    def num_batches(self, epoch: int) -> int:
        """As `data.num_batches`."""
        return self._await(self._later(lambda: self._data.num_batches(epoch)))

    def _make(self, epoch: int, position: int) -> Batch:
        batch = self._data.batch(epoch, position)
        if self._change is not None:
            batch = self._change(batch)
        return batch.pinned() if self._pin else batch

    def _later(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:  # it belongs to whoever asks
                future.set_exception(error)

        self._jobs.put(run)
        return future

    def _await(self, future: Future[T]) -> T:
        before = time.perf_counter()
        try:
            return future.result()
        finally:
            self.waited += time.perf_counter() - before

    def _work(self) -> Any:
        while True:
            self._jobs.get()()

"""Prefetching: a background thread builds micro-batches while the model trains on earlier ones.

One thread does all work on the data, in the order of the requests, so `data` need not be thread-safe. The contents of a
batch follow from its epoch and position, so prefetching changes no result.

The thread is a daemon, and `close` waits for it only for seconds: it may be tokenising a whole epoch of a large corpus.
But it does wait, since a process that ends while a thread is inside of torch is aborted.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

import torch

from s2s.data.batching import Batch

T = TypeVar("T")

PATIENCE = 10.0  # seconds


class MicroBatches(Protocol):
    """The data interface of training; `s2s.data.batching.TrainingData` implements it."""

    def num_batches(self, epoch: int) -> int: ...

    def batch(self, epoch: int, position: int) -> Batch: ...


class Prefetcher:
    """Micro-batches of `data`, built in advance on request.

    Args:
        data: used by this object alone from now on.
        device: where the batches go; for a GPU they are put into pinned memory, for asynchronous copies.
        transform: applied to each batch before it is pinned.

    Attributes:
        waited: total seconds for which callers waited for data.
    """

    def __init__(
        self, data: MicroBatches, device: torch.device, transform: Callable[[Batch], Batch] | None = None
    ) -> None:
        self._data, self._pin, self._transform = data, device.type == "cuda", transform
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._futures: dict[tuple[int, int], Future[Batch]] = {}
        self.waited = 0.0
        self._thread: threading.Thread | None = None

    def prefetch(self, epoch: int, position: int) -> None:
        """Queues this batch for building."""
        if (epoch, position) not in self._futures:
            self._futures[epoch, position] = self._submit(lambda: self._build(epoch, position))

    def batch(self, epoch: int, position: int) -> Batch:
        """Returns `data.batch(epoch, position)` and forgets it."""
        self.prefetch(epoch, position)
        return self._wait(self._futures.pop((epoch, position)))

    def num_batches(self, epoch: int) -> int:
        """Returns `data.num_batches(epoch)`."""
        return self._wait(self._submit(lambda: self._data.num_batches(epoch)))

    def close(self) -> None:
        """Ends the thread and drops what was prefetched; a later request starts another thread."""
        for future in self._futures.values():
            future.cancel()  # what has not begun is not begun any more
        self._futures.clear()
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(PATIENCE)
            self._thread = None

    def _build(self, epoch: int, position: int) -> Batch:
        batch = self._data.batch(epoch, position)
        if self._transform is not None:
            batch = self._transform(batch)
        return batch.pinned() if self._pin else batch

    def _submit(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except BaseException as error:  # raised again in the caller of `result`
                future.set_exception(error)

        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
            self._thread.start()
        self._jobs.put(run)
        return future

    def _wait(self, future: Future[T]) -> T:
        start = time.perf_counter()
        try:
            return future.result()
        finally:
            self.waited += time.perf_counter() - start

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

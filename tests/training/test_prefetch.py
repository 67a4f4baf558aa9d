"""Prefetched batches equal those of the data, are built one at a time, and errors reach the caller."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.data.batching import Batch
from s2s.errors import S2SError
from s2s.training.prefetch import Prefetcher
from tests.training.toy import ToyData

CPU = torch.device("cpu")
positions = st.tuples(st.integers(0, 2), st.integers(0, 4))


class RecordingData(ToyData):
    """Data that records its calls and rejects concurrent ones."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds, self.built, self._lock = seconds, list[tuple[int, int]](), threading.Lock()

    def batch(self, epoch: int, position: int) -> Batch:
        assert self._lock.acquire(blocking=False), "concurrent calls"
        try:
            time.sleep(self.seconds)
            if epoch == 9:
                raise S2SError("no such epoch")
            self.built.append((epoch, position))
            return super().batch(epoch, position)
        finally:
            self._lock.release()


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), positions), max_size=12))
def test_batches_are_those_of_the_data_whatever_was_prefetched(requests: list[tuple[bool, tuple[int, int]]]) -> None:
    data = RecordingData()
    prefetcher = Prefetcher(data, CPU)
    for only_prefetch, (epoch, position) in requests:
        if only_prefetch:
            prefetcher.prefetch(epoch, position)
        else:
            ours, theirs = prefetcher.batch(epoch, position), ToyData().batch(epoch, position)
            assert torch.equal(ours.source, theirs.source)
            assert torch.equal(ours.target, theirs.target)
            assert prefetcher.num_batches(epoch) == 5


def test_a_prefetched_batch_is_built_before_it_is_requested() -> None:
    data = RecordingData(seconds=0.05)
    prefetcher = Prefetcher(data, CPU)
    prefetcher.prefetch(0, 3)
    deadline = time.monotonic() + 10
    while data.built != [(0, 3)] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert data.built == [(0, 3)]
    prefetcher.batch(0, 3)
    assert data.built == [(0, 3)]  # not built again
    before = prefetcher.waited
    prefetcher.batch(0, 4)
    assert prefetcher.waited - before >= 0.05
    prefetcher.batch(0, 4)
    assert data.built == [(0, 3), (0, 4), (0, 4)]  # a returned batch is not kept
    assert prefetcher.waited - before >= 0.075  # for both


def test_an_error_reaches_the_caller() -> None:
    prefetcher = Prefetcher(RecordingData(), CPU)
    prefetcher.prefetch(9, 0)
    assert prefetcher.batch(0, 0).size > 0
    with pytest.raises(S2SError, match="no such epoch"):
        prefetcher.batch(9, 0)
    assert prefetcher.batch(0, 1).size > 0


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    prefetcher = Prefetcher(RecordingData(), CPU)
    first = prefetcher.batch(0, 0)
    (thread,) = set(threading.enumerate()) - before
    prefetcher.close()
    thread.join(10)
    assert not thread.is_alive()
    assert torch.equal(prefetcher.batch(0, 0).source, first.source)  # as before
    prefetcher.close()


def test_closing_waits_for_what_runs_and_drops_the_rest() -> None:
    """A process that ends while a thread is inside of torch is aborted."""
    data = RecordingData(seconds=0.2)
    prefetcher, before = Prefetcher(data, CPU), set(threading.enumerate())
    for position in range(4):
        prefetcher.prefetch(0, position)
    (thread,) = set(threading.enumerate()) - before
    time.sleep(0.05)
    prefetcher.close()
    assert not thread.is_alive()
    assert data.built == [(0, 0)]
    assert torch.equal(prefetcher.batch(0, 2).source, ToyData().batch(0, 2).source)  # a later request starts anew
    prefetcher.close()

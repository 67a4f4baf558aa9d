"""CUDA graphs: GPU work that is captured once and replayed as a whole.

A recurrent network needs some twenty operations for each word, each of a few microseconds on a GPU, and Python needs
longer than that to launch one. A graph holds them all, with their memory, for inputs of one shape (Nguyen et al. 2021,
"Accelerating PyTorch with CUDA Graphs"). `s2s.training.graphs` captures training steps, `s2s.decoding.graphs` decoder
steps. Both run a shape eagerly when it first comes and capture it when it comes again. Where capture fails, they log a
line and are eager from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

log = logging.getLogger(__name__)

T = TypeVar("T")

MULTIPLE = 8  # sizes are padded to multiples of this: fewer shapes, and matrix units work in such numbers, too
MAX_GRAPHS = 64  # all graphs share one memory pool, but each has its own inputs


def capture(run: Callable[[], T], pool: object) -> tuple[Callable[[], None], T]:
    """Captures the GPU work of `run` without executing it.

    Args:
        run: returns tensors; it must not wait for the GPU.
        pool: memory for its results, from `memory_pool`.

    Returns:
        The replay function, and the tensors that it fills.

    Raises:
        RuntimeError: the work cannot be captured.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        # thread_local: other threads may work with the GPU meanwhile; batches are built and pinned in one.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):  # type: ignore[arg-type]
            result = run()
    except RuntimeError as error:
        # torch stays on the stream of the capture, and its random numbers wait for the end of it.
        torch.cuda.set_stream(stream)
        generator = torch.cuda.default_generators[stream.device.index]
        generator.graphsafe_set_state(generator.clone_state())
        cause = error.__context__  # of `run`; the error that ends the capture only says that there was one
        raise (cause if isinstance(cause, RuntimeError) else error) from None
    return graph.replay, result


def memory_pool() -> object:
    """Memory that several graphs share, as they never run at the same time."""
    return torch.cuda.graph_pool_handle()


class GraphCache(Generic[T]):
    """Captured graphs by the shape of their inputs.

    Args:
        purpose: named in the log line about a failed capture.
    """

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self._by_shape: dict[Hashable, T | None] = {}
        self._pool: object = None
        self._failed = False

    def get(self, shape: Hashable, make: Callable[[object], T]) -> T | None:
        """Returns the graph for a shape; None at the shape's first call and after a failed capture.

        Args:
            make: captures the graph into a memory pool.
        """
        if self._failed:
            return None
        if self._by_shape.get(shape) is not None:
            return self._by_shape[shape]
        if shape not in self._by_shape:
            if len(self._by_shape) < MAX_GRAPHS:
                self._by_shape[shape] = None
            return None
        try:
            self._pool = memory_pool() if self._pool is None else self._pool
            self._by_shape[shape] = make(self._pool)
        except RuntimeError as error:
            self._failed = True
            self._by_shape.clear()  # they would draw the random numbers of before
            log.warning("CUDA graphs are off for %s: %s", self.purpose, str(error).splitlines()[0])
        return self._by_shape.get(shape)


def round_up(size: int) -> int:
    """The next multiple of `MULTIPLE`."""
    return -(-size // MULTIPLE) * MULTIPLE

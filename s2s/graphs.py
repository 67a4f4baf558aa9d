"""Recording GPU work as a CUDA graph, which is then started as one piece.

A recurrent network takes some twenty operations for each word, each of a few microseconds on a GPU, and Python needs
longer than that to start one. A graph holds them all, with the memory they work in, for inputs of one shape (Nguyen et
al. 2021, "Accelerating PyTorch with CUDA Graphs"). `s2s.training.graphs` records training steps, `s2s.decoding.graphs`
the steps of search. Both compute a shape step by step when it first comes, record it when it comes again, and go on
step by step, with a line, where that fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

log = logging.getLogger(__name__)

T = TypeVar("T")

MULTIPLE = 8  # sizes are filled up to multiples of this: fewer shapes, and matrix units work in such numbers, too
MOST = 64  # shapes; all graphs share one memory, but each has its own inputs


def record(run: Callable[[], T], pool: object) -> tuple[Callable[[], None], T]:
    """Records what `run` would do on the GPU, without doing it.

    Args:
        run: returns tensors; it must not wait for the GPU.
        pool: memory for what it computes, from `memory_pool`.

    Returns:
        What does it, and where that leaves its results.

    Raises:
        RuntimeError: it cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):  # type: ignore[arg-type]
        result = run()
    return graph.replay, result


def memory_pool() -> object:
    """Memory that several graphs share, since none of them runs while another does."""
    return torch.cuda.graph_pool_handle()


class Recordings(Generic[T]):
    """What was recorded, by shape.

    Args:
        what: named in the line that says that it cannot be recorded.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._by_shape: dict[Hashable, T | None] = {}
        self._pool: object = None
        self._failed = False

    def find(self, shape: Hashable, make: Callable[[object], T]) -> T | None:
        """The recording for a shape: None when it comes for the first time, and where nothing can be recorded.

        Args:
            make: records it, given a memory pool.
        """
        if self._by_shape.get(shape) is not None or self._failed:
            return self._by_shape.get(shape)
        if shape not in self._by_shape:
            if len(self._by_shape) < MOST:
                self._by_shape[shape] = None
            return None
        try:
            self._pool = memory_pool() if self._pool is None else self._pool
            self._by_shape[shape] = make(self._pool)
        except RuntimeError as error:
            self._failed = True
            log.warning("CUDA graphs are off for %s: %s", self.what, str(error).splitlines()[0])
        return self._by_shape[shape]


def rounded(size: int) -> int:
    """The size, filled up."""
    return -(-size // MULTIPLE) * MULTIPLE

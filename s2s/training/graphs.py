"""CUDA graphs of training: the forward and backward pass of a micro-batch as one graph launch; see `s2s.cuda_graphs`.

Batches are padded to a few dozen recurring shapes (`Batch.pad_to_multiple`), and each shape has a graph. Random numbers
drawn in a graph follow the seed set before its replay, as in eager mode.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from s2s.cuda_graphs import MULTIPLE, GraphCache, capture
from s2s.data.batching import Batch


class _StepGraph(NamedTuple):
    """A graph with its static input tensors and its output."""

    batch: Batch
    tokens: Tensor
    replay: Callable[[], None]
    output: Tensor


class GraphedStep:
    """A forward and backward pass with one CUDA graph per batch shape.

    Args:
        step: (batch, target tokens of the update) -> a tensor; accumulates into gradients that persist between calls.
        device: a GPU.
    """

    def __init__(self, step: Callable[[Batch, Tensor], Tensor], device: torch.device) -> None:
        self._step, self._device = step, device
        self._graphs: GraphCache[_StepGraph] = GraphCache("training")

    def __call__(self, batch: Batch, tokens: float) -> Tensor:
        """Returns `step`'s output for a batch in host memory; it is valid until the next call."""
        graph = self._graphs.get(batch.shape, partial(self._capture, batch))
        if graph is None:
            return self._step(batch.to(self._device), torch.full((), tokens, device=self._device))
        tensors = batch.tensors
        for name, static in graph.batch.tensors.items():
            static.copy_(tensors[name], non_blocking=True)
        graph.tokens.fill_(tokens)
        graph.replay()
        return graph.output

    def _capture(self, batch: Batch, pool: object) -> _StepGraph:
        static, tokens = batch.to(self._device), torch.ones((), device=self._device)
        return _StepGraph(static, tokens, *capture(lambda: self._step(static, tokens), pool))


def pad_to_captured_shape(batch: Batch) -> Batch:
    """Returns the batch padded to one of the captured shapes."""
    return batch.pad_to_multiple(MULTIPLE)

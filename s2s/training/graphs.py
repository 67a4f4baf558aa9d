"""A training step as a CUDA graph, forward and backward pass of a micro-batch in one; see `s2s.graphs`.

Batches are filled up to a few dozen shapes that come again and again (`Batch.pad_to_multiple`). Numbers that are drawn
in a graph follow the seed that is set before it runs, as they do step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from s2s.data.batching import Batch
from s2s.graphs import MULTIPLE, GraphCache, capture

Step = Callable[[Batch, Tensor], Tensor]


class _Recorded(NamedTuple):
    batch: Batch
    tokens: Tensor
    replay: Callable[[], None]
    result: Tensor


class GraphedStep:
    """A step that is recorded for each shape of its batches.

    Args:
        step: (batch, target tokens of the update) -> a tensor; it adds to gradients that are kept from call to call.
        device: a GPU.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step, self._device = step, device
        self._recordings: GraphCache[_Recorded] = GraphCache("training")

    def __call__(self, batch: Batch, tokens: float) -> Tensor:
        """What `step` returns for a batch in the CPU's memory; it holds until the next call."""
        found = self._recordings.get(batch.shape, partial(self._record, batch))
        if found is None:
            return self._step(batch.to(self._device), torch.full((), tokens, device=self._device))
        now = batch.tensors
        for name, tensor in found.batch.tensors.items():
            tensor.copy_(now[name], non_blocking=True)
        found.tokens.fill_(tokens)
        found.replay()
        return found.result

    def _record(self, batch: Batch, pool: object) -> _Recorded:
        static, tokens = batch.to(self._device), torch.ones((), device=self._device)
        return _Recorded(static, tokens, *capture(lambda: self._step(static, tokens), pool))


def fixed(batch: Batch) -> Batch:
    """The batch in one of the shapes for which steps are recorded."""
    return batch.pad_to_multiple(MULTIPLE)

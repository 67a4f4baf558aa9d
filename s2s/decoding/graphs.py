"""Decoder steps of search as CUDA graphs; see `s2s.cuda_graphs`.

The number of sentences falls as they finish. A graph works on that number padded to a multiple; its output for the
padding is never read. A decoder whose state grows with each step, such as the key/value caches of a Transformer, never
has the same shape twice and stays eager.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from s2s.cuda_graphs import GraphCache, capture, round_up
from s2s.models.interface import DecodeState, Seq2Seq, Translatable


class _StepGraph(NamedTuple):
    tokens: Tensor
    state: DecodeState
    replay: Callable[[], None]
    logits: Tensor
    rows: dict[str, Tensor]


class GraphedDecoder(Translatable):
    """A model whose decoder steps are replayed from one CUDA graph for each input shape.

    Args:
        model: on a GPU, in evaluation mode when it is used.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self._model = model
        self._graphs: GraphCache[_StepGraph] = GraphCache("decoding")
        self._loaded: dict[int, dict[str, Tensor]] = {}  # `shared` tensors last copied into each graph
        self._state_grows = False

    def start(self, src: Tensor, mask: Tensor) -> DecodeState:
        padding = (0, round_up(src.size(1)) - src.size(1))
        return self._model.start(pad(src, padding), pad(mask, padding))

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """The model's step; its results are valid until the next call."""
        sentences, rows = state.shared["mask"].size(0), len(tokens)
        tensors = [*state.shared.items(), *state.rows.items()]
        shape = (round_up(sentences), rows // sentences, *((name, t.shape[1:], t.dtype) for name, t in tensors))
        graph = None if self._state_grows else self._graphs.get(shape, partial(self._capture, tokens, state))
        if graph is None:
            logits, new = self._model.step(tokens, state)
            self._state_grows = any(new.rows[name].shape != old.shape for name, old in state.rows.items())
            return logits, new
        if self._loaded.get(id(graph)) is not state.shared:
            for name, tensor in state.shared.items():
                graph.state.shared[name][:sentences].copy_(tensor)
            self._loaded[id(graph)] = state.shared
        graph.tokens[:rows].copy_(tokens)
        for name, tensor in state.rows.items():
            graph.state.rows[name][:rows].copy_(tensor)
        graph.replay()
        new_rows = {name: tensor[:rows] for name, tensor in graph.rows.items()}
        return graph.logits[:rows], DecodeState(state.shared, new_rows)

    def _capture(self, tokens: Tensor, state: DecodeState, pool: object) -> _StepGraph:
        sentences, device = state.shared["mask"].size(0), tokens.device.type
        size = round_up(sentences)
        rows = len(tokens) // sentences * size
        static_tokens = _padded(tokens, rows)
        static = DecodeState(
            {name: _padded(tensor, size) for name, tensor in state.shared.items()},
            {name: _padded(tensor, rows) for name, tensor in state.rows.items()},
        )

        def step() -> tuple[Tensor, dict[str, Tensor]]:
            # No autocast cache: its casts of weights are freed when the caller leaves autocast.
            with torch.autocast(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device), False):
                logits, new = self._model.step(static_tokens, static)
            return logits, new.rows

        replay, (logits, new_rows) = capture(step, pool)
        return _StepGraph(static_tokens, static, replay, logits, new_rows)


def _padded(tensor: Tensor, size: int) -> Tensor:
    """The tensor with copies of its first row as padding: a sentence of padding alone would have no attention."""
    return torch.cat([tensor, tensor[:1].expand(size - len(tensor), *tensor.shape[1:])])

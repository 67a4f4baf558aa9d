"""The decoder's steps of search as CUDA graphs; see `s2s.graphs`.

Search gives a step fewer sentences from time to time, as they end. A recorded step works on a number of sentences that
is filled up; what it computes for the others is never read. A decoder whose state grows with each step, as the key and
value caches of a Transformer do, never has the same shape twice and is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from s2s.graphs import Recordings, record, rounded
from s2s.models.interface import DecodeState, Seq2Seq, Translatable


class _Recorded(NamedTuple):
    tokens: Tensor
    state: DecodeState
    replay: Callable[[], None]
    logits: Tensor
    rows: dict[str, Tensor]


class GraphedSearch(Translatable):
    """A model as search sees it, whose steps are recorded for each shape of their inputs.

    Args:
        model: on a GPU, in evaluation mode when it is used.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self._model = model
        self._recordings: Recordings[_Recorded] = Recordings("decoding")
        self._loaded: dict[int, dict[str, Tensor]] = {}  # what each recording last read of the sentences
        self._grows = False  # the state, from step to step

    def start(self, src: Tensor, mask: Tensor) -> DecodeState:
        more = (0, rounded(src.size(1)) - src.size(1))
        return self._model.start(pad(src, more), pad(mask, more))

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """As of the model; what it returns holds until the next call."""
        sentences, rows = state.shared["mask"].size(0), len(tokens)
        tensors = [*state.shared.items(), *state.rows.items()]
        shape = (rounded(sentences), rows // sentences, *((name, one.shape[1:], one.dtype) for name, one in tensors))
        found = None if self._grows else self._recordings.find(shape, partial(self._record, tokens, state))
        if found is None:
            logits, new = self._model.step(tokens, state)
            self._grows = any(new.rows[name].shape != before.shape for name, before in state.rows.items())
            return logits, new
        if self._loaded.get(id(found)) is not state.shared:
            for name, tensor in state.shared.items():
                found.state.shared[name][:sentences].copy_(tensor)
            self._loaded[id(found)] = state.shared
        found.tokens[:rows].copy_(tokens)
        for name, tensor in state.rows.items():
            found.state.rows[name][:rows].copy_(tensor)
        found.replay()
        new_rows = {name: tensor[:rows] for name, tensor in found.rows.items()}
        return found.logits[:rows], DecodeState(state.shared, new_rows)

    def _record(self, tokens: Tensor, state: DecodeState, pool: object) -> _Recorded:
        sentences = state.shared["mask"].size(0)
        size = rounded(sentences)  # of sentences, and
        rows = len(tokens) // sentences * size  # of hypotheses
        static = DecodeState(
            {name: _filled(tensor, size) for name, tensor in state.shared.items()},
            {name: _filled(tensor, rows) for name, tensor in state.rows.items()},
        )
        asked = _filled(tokens, rows)
        device = tokens.device.type

        def step() -> tuple[Tensor, dict[str, Tensor]]:
            # The casts of weights that autocast remembers are freed when the caller leaves it.
            with torch.autocast(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device), False):
                logits, new = self._model.step(asked, static)
            return logits, new.rows

        replay, (logits, new_rows) = record(step, pool)
        return _Recorded(asked, static, replay, logits, new_rows)


def _filled(tensor: Tensor, size: int) -> Tensor:
    """The tensor with more rows, copies of the first one: a sentence of padding alone would have no attention."""
    return torch.cat([tensor, tensor[:1].expand(size - len(tensor), *tensor.shape[1:])])

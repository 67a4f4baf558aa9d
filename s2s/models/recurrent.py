"""The recurrent encoder and decoder: any cell, any number of layers, with a fixed-length context vector or attention.

The encoder returns all its outputs (the memory) and one vector, the summary: the final states of the last layer in all
directions (h and c for an LSTM). The decoder uses them according to `attention`:

- `none`: the summary only initialises the decoder state (Sutskever et al. 2014).
- `fixed`: the summary is also an input of every step and of the pre-output layer (Cho et al. 2014). Its size does not
  depend on the length of the sentence.
- `bahdanau`: each step attends to the memory (Bahdanau et al. 2015).

The pre-output layer (readout) is o_i = tanh(W [s_i; y_{i-1}; c_i]), as wide as an embedding so that output layer and
embedding can be tied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.models.interface import Decoder, DecodeState, Encoder, Gates, Memory
from s2s.nn.attention import AttentionCell, AttentionMemory, BahdanauAttention
from s2s.nn.cells import CELLS
from s2s.nn.dropout import Dropout
from s2s.nn.kernels.attention import Query
from s2s.nn.kernels.stepping import State
from s2s.nn.recurrent import RecurrentLayer, RecurrentStack, StackedCell
from s2s.schema import Layers, PositiveInt, Probability, build


@dataclass(frozen=True)
class NoAttention:
    """`model/decoder/attention=none`."""

    type: Literal["none"]


@dataclass(frozen=True)
class FixedContext:
    """`model/decoder/attention=fixed`."""

    type: Literal["fixed"]


@dataclass(frozen=True)
class Bahdanau:
    """`model/decoder/attention=bahdanau`."""

    type: Literal["bahdanau"]
    size: PositiveInt = 128  # width of the scoring network's hidden layer
    query: Query = "previous"  # s_{i-1} (Bahdanau) or s_i (Luong)
    input_feeding: bool = False  # of the last attentional vector (Luong et al. 2015, section 3.3)


AttentionConfig = NoAttention | FixedContext | Bahdanau


class RecurrentEncoder(Encoder, name="recurrent"):
    """A stack of recurrent layers over the source."""

    takes_lengths = True
    mixes = "recurrence"

    def __init__(
        self,
        input_size: int,
        *,
        cell: str,
        hidden_size: PositiveInt,
        layers: Layers,
        bidirectional: bool,
        dropout: Probability,
        cell_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        cell_type, levels, size = CELLS.find(cell), [], input_size
        for _ in range(layers):
            options = {"input_size": size, "hidden_size": hidden_size, **(cell_options or {})}
            cells = [build(cell_type, options) for _ in range(1 + bidirectional)]
            levels.append([RecurrentLayer(c, reverse=n == 1) for n, c in enumerate(cells)])
            size = sum(c.output_size for c in cells)
        self.stack = RecurrentStack(levels, dropout)
        self.output_size = size
        self.summary_size = sum(layer.cell.num_states * layer.cell.hidden_size for layer in levels[-1])
        self.directions = len(levels[-1])

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> Memory:
        values, finals = self.stack(embedded, mask, lengths=lengths)
        summary = torch.cat([tensor for state in finals[-self.directions :] for tensor in state], dim=-1)
        return Memory(values, mask, summary)

    def gates(self, embedded: Tensor, mask: Tensor) -> Gates:
        """Layers are `encoder forward`, `encoder backward`, those of a stack `encoder 1 forward` and so on."""
        suffixes = [""] if self.directions == 1 else [" forward", " backward"]
        names = [level + suffix for level in _level_names("encoder", len(self.stack.levels)) for suffix in suffixes]
        return dict(zip(names, map(_without_states, self.stack.trace(embedded, mask)), strict=True))


class RecurrentDecoder(Decoder, name="recurrent"):
    """A stack of recurrent layers over the target.

    If attention needs each state before the next one (the query is the previous state, or input feeding), all layers
    and the attention step together as one `AttentionCell`. Otherwise the layers run over all target time, and then
    attention over all their states.
    """

    mixes = "recurrence"

    def __init__(
        self,
        input_size: int,
        memory_size: int,
        summary_size: int,
        *,
        cell: str,
        hidden_size: PositiveInt,
        layers: Layers,
        dropout: Probability,
        attention: AttentionConfig,
        cell_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.bahdanau: BahdanauAttention | None = None
        self.stack: RecurrentStack | None = None
        self.attending: RecurrentLayer | None = None
        self.fixed = isinstance(attention, FixedContext)
        context_inputs = context = summary_size if self.fixed else 0
        query: Query | None = None
        feeding = False
        if isinstance(attention, Bahdanau):
            query, feeding = attention.query, attention.input_feeding
            context = hidden_size if feeding else memory_size
            if query == "previous" or feeding:
                context_inputs = AttentionCell.context_width(query, feeding, hidden_size, memory_size)
            self.bahdanau = BahdanauAttention(hidden_size, memory_size, attention.size)
        self.reads = "fixed" if self.bahdanau is None else "attention"

        cells = [
            build(CELLS.find(cell), {"input_size": size, "hidden_size": hidden_size, **(cell_options or {})})
            for size in (input_size + context_inputs, *[hidden_size] * (layers - 1))
        ]
        if self.bahdanau is not None and query is not None and context_inputs:
            inner = cells[0] if layers == 1 else StackedCell(cells, dropout)
            self.attending = RecurrentLayer(AttentionCell(inner, self.bahdanau, query, feeding, memory_size))
        else:
            self.stack = RecurrentStack([[RecurrentLayer(c)] for c in cells], dropout)
        self.hidden_size = hidden_size
        self.states_per_layer = [c.num_states for c in cells]
        states = [(c, n) for c in (cells if self.attending is None else cells[::-1]) for n in range(c.num_states)]
        bridge = {
            f"state{i}": nn.Linear(summary_size, hidden_size)
            for i, (c, n) in enumerate(states)
            if n > 0 or c.reads_output or (i == 0 and query == "previous")
        }
        # Keys of checkpoints. Bahdanau et al. 2015 call `attending` the RNN with the alignment model (A.1.2), `bridge`
        # the initial decoder state s_0 = tanh(W_s h) (A.2.2; here of the final states of both directions), and
        # `readout` the pre-output layer (a deep output, A.2.2).
        self.bridge = nn.ModuleDict(bridge)
        self.readout = nn.Linear(hidden_size + context + input_size, input_size)
        self.dropout = Dropout(dropout)
        self.output_size = input_size
        for layer in (*bridge.values(), self.readout):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def init_state(self, memory: Memory) -> DecodeState:
        zeros = memory.summary.new_zeros(memory.summary.size(0), self.hidden_size)
        rows = {f"state{i}": zeros for i in range(sum(self.states_per_layer))}  # states that no cell reads stay 0
        rows |= {name: torch.tanh(layer(memory.summary)) for name, layer in self.bridge.items()}
        if self.attending is not None and isinstance(self.attending.cell, AttentionCell):
            # The initial output is [s_0; 0]: there is no context before the first step.
            context = memory.summary.new_zeros(memory.summary.size(0), self.attending.cell.context_size)
            rows["state0"] = torch.cat([rows["state0"], context], dim=-1)
        shared = {"mask": memory.mask}
        if self.fixed:
            shared["summary"] = memory.summary
        if self.bahdanau is not None:
            keys = self.bahdanau.prepare(memory.values, memory.mask).keys
            shared.update(values=memory.values, keys=keys)
        return DecodeState(shared, rows)

    def forward(self, embedded: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        summary = state.shared.get("summary")
        if self.attending is not None:
            outputs, final = self.attending(embedded, None, self._states(state), self._memory(state))
        else:
            assert self.stack is not None
            outputs, finals = self.stack(embedded, None, self._by_layer(state), summary)
            final = tuple(tensor for states in finals for tensor in states)
            if self.bahdanau is not None:
                outputs = torch.cat([outputs, self.bahdanau.contexts(outputs, self._memory(state))], dim=-1)
        hidden = self.dropout(torch.tanh(self._pre_output(torch.cat([outputs, embedded], dim=-1), summary)))
        return hidden, DecodeState(state.shared, {f"state{i}": tensor for i, tensor in enumerate(final)})

    def attention(self, embedded: Tensor, state: DecodeState) -> dict[str, Tensor]:
        if self.bahdanau is None:
            return {}
        if self.attending is not None:
            traced = self.attending.trace(embedded, None, self._states(state), self._memory(state))
            return {"attention": traced["attention"]}
        assert self.stack is not None
        outputs, _ = self.stack(embedded, None, self._by_layer(state))
        return {"attention": self.bahdanau(outputs, self._memory(state))[1]}

    def gates(self, embedded: Tensor, state: DecodeState) -> Gates:
        """Layers are `decoder`, those of a stack `decoder 1` and so on, bottom up."""
        names = _level_names("decoder", len(self.states_per_layer))
        if self.attending is None:
            assert self.stack is not None
            traces = self.stack.trace(embedded, None, self._by_layer(state), state.shared.get("summary"))
            return dict(zip(names, map(_without_states, traces), strict=True))
        traced = _without_states(self.attending.trace(embedded, None, self._states(state), self._memory(state)))
        traced.pop("attention")
        prefixes = {"": names[0]} if len(names) == 1 else {f"layer{n}.": name for n, name in enumerate(names, 1)}
        return {
            name: {key.removeprefix(prefix): values for key, values in traced.items() if key.startswith(prefix)}
            for prefix, name in prefixes.items()
        }

    def _pre_output(self, x: Tensor, summary: Tensor | None) -> Tensor:
        """The pre-output layer before its tanh; the summary is multiplied once for each sentence."""
        if summary is None:
            return self.readout(x)  # type: ignore[no-any-return]
        width = x.size(-1)
        output = F.linear(x, self.readout.weight[:, :width], self.readout.bias)
        share = F.linear(summary, self.readout.weight[:, width:])
        return output + share.repeat_interleave(x.size(0) // len(share), dim=0).unsqueeze(1)

    @staticmethod
    def _memory(state: DecodeState) -> AttentionMemory:
        return AttentionMemory(state.shared["values"], state.shared["keys"], state.shared["mask"])

    @staticmethod
    def _states(state: DecodeState) -> State:
        return tuple(state.rows[f"state{i}"] for i in range(len(state.rows)))

    def _by_layer(self, state: DecodeState) -> list[State]:
        states = iter(self._states(state))
        return [tuple(islice(states, count)) for count in self.states_per_layer]


def _level_names(side: str, count: int) -> list[str]:
    """Names of the levels of a stack; a single one has no number."""
    return [side] if count == 1 else [f"{side} {number}" for number in range(1, count + 1)]


def _without_states(traced: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A layer's trace without its states."""
    return {name: values for name, values in traced.items() if not name.startswith("state")}

"""The recurrent encoder and decoder: any cell, any number of layers, with a fixed-size encoding or with attention.

The encoder reads the source and leaves all its outputs (the memory) and one vector, the summary: all that the last
layer's cells know at the end of both directions (of an LSTM h and c). How the decoder uses them is `attention`:

- `none`: the summary sets the decoder's first state, and that is all it ever learns of the source (Sutskever et al.
  2014).
- `fixed`: the summary also enters every step and the readout (Cho et al. 2014). Still one vector of fixed size, however
  long the sentence.
- `bahdanau`: each step looks back at the memory and takes what it needs (Bahdanau et al. 2015).

The readout is o_i = tanh(W [s_i; y_{i-1}; c_i]), as wide as an embedding so that output and embedding can be tied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.models.interface import Decoder, DecodeState, Encoder, Gates, Memory
from s2s.nn.attention import AttentionCell, AttentionMemory, BahdanauAttention, StackedCell
from s2s.nn.cells import cell_class
from s2s.nn.dropout import Dropout
from s2s.nn.kernels.stepping import State
from s2s.nn.recurrent import RecurrentLayer, RecurrentStack
from s2s.schema import PositiveInt, Probability


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
    size: PositiveInt = 128  # width of the hidden layer that scores
    query: Literal["previous", "current"] = "previous"  # which state asks: s_{i-1} (Bahdanau) or s_i (Luong)
    input_feeding: bool = False  # the last attentional vector enters the cell (Luong et al. 2015, section 3.3)


AttentionConfig = NoAttention | FixedContext | Bahdanau


class RecurrentEncoder(Encoder, name="recurrent"):
    """A stack of recurrent layers over the source."""

    takes_lengths = True

    def __init__(
        self,
        input_size: int,
        *,
        cell: str,
        hidden_size: PositiveInt,
        layers: PositiveInt,
        bidirectional: bool,
        dropout: Probability,
        cell_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        make, levels, size = cell_class(cell), [], input_size
        for _ in range(layers):
            directions = (False, True) if bidirectional else (False,)
            level = [RecurrentLayer(make(size, hidden_size, **(cell_options or {})), reverse) for reverse in directions]
            levels.append(level)
            size = sum(layer.cell.output_size for layer in level)
        self.stack = RecurrentStack(levels, dropout)
        self.output_size = size
        self.summary_size = sum(layer.cell.num_states * layer.cell.hidden_size for layer in levels[-1])
        self.directions = len(levels[-1])

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> Memory:
        values, finals = self.stack(embedded, mask, lengths=lengths)
        summary = torch.cat([part for state in finals[-self.directions :] for part in state], dim=-1)
        return Memory(values, mask, summary)

    def gates(self, embedded: Tensor, mask: Tensor) -> Gates:
        """Layers are `encoder forward`, `encoder backward`, those of a stack `encoder 1 forward` and so on."""
        ways = [""] if self.directions == 1 else [" forward", " backward"]
        names = [level + way for level in _levels("encoder", len(self.stack.levels)) for way in ways]
        return dict(zip(names, map(_gates, self.stack.trace(embedded, mask)), strict=True))


class RecurrentDecoder(Decoder, name="recurrent"):
    """A stack of recurrent layers that writes the target.

    Where attention has to see each state before the next one (the query is the previous state, or input feeding), all
    layers and the attention step together as one `AttentionCell`; otherwise the layers run over all target time at
    once, and attention over all their states after that.
    """

    def __init__(
        self,
        input_size: int,
        memory_size: int,
        summary_size: int,
        *,
        cell: str,
        hidden_size: PositiveInt,
        layers: PositiveInt,
        dropout: Probability,
        attention: AttentionConfig,
        cell_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.bahdanau: BahdanauAttention | None = None
        self.in_step = False
        extra, context = 0, 0
        if isinstance(attention, FixedContext):
            extra = context = summary_size
        elif isinstance(attention, Bahdanau):
            self.in_step = attention.query == "previous" or attention.input_feeding
            context = hidden_size if attention.input_feeding else memory_size
            if self.in_step:
                extra = AttentionCell.width_of_context(
                    attention.query, attention.input_feeding, hidden_size, memory_size
                )
            self.bahdanau = BahdanauAttention(hidden_size, memory_size, attention.size)
        self.fixed = isinstance(attention, FixedContext)
        self.reads = "fixed" if self.bahdanau is None else "attention"

        make = cell_class(cell)
        cells = [
            make(input_size + extra if n == 0 else hidden_size, hidden_size, **(cell_options or {}))
            for n in range(layers)
        ]
        self.stack: RecurrentStack | None = None
        self.attending: RecurrentLayer | None = None
        if self.in_step and isinstance(attention, Bahdanau) and self.bahdanau is not None:
            inner = cells[0] if layers == 1 else StackedCell(cells, dropout)
            self.attending = RecurrentLayer(
                AttentionCell(inner, self.bahdanau, attention.query, attention.input_feeding, memory_size)
            )
        else:
            self.stack = RecurrentStack([[RecurrentLayer(c)] for c in cells], dropout)
        self.hidden_size = hidden_size
        self.states_of = [c.num_states for c in cells]
        self.num_states = sum(self.states_of)
        asks = isinstance(attention, Bahdanau) and attention.query == "previous"
        order = cells if self.attending is None else cells[::-1]  # as the states are numbered
        read = [n > 0 or c.reads_output or (c is order[0] and asks) for c in order for n in range(c.num_states)]
        self.bridge = nn.ModuleDict(
            {f"state{i}": nn.Linear(summary_size, hidden_size) for i, r in enumerate(read) if r}
        )
        self.readout = nn.Linear(hidden_size + context + input_size, input_size)
        self.dropout = Dropout(dropout)
        self.output_size = input_size
        for layer in (*self.bridge.values(), self.readout):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def init_state(self, memory: Memory) -> DecodeState:
        nothing = memory.summary.new_zeros(memory.summary.size(0), self.hidden_size)
        rows = {f"state{i}": nothing for i in range(self.num_states)}  # what no cell reads stays
        rows |= {name: torch.tanh(layer(memory.summary)) for name, layer in self.bridge.items()}
        if self.attending is not None and isinstance(self.attending.cell, AttentionCell):
            # The cell's first output is [s_0; c_0]; there is no context before the first step.
            context = memory.summary.new_zeros(memory.summary.size(0), self.attending.cell.context_size)
            rows["state0"] = torch.cat([rows["state0"], context], dim=-1)
        shared = {"mask": memory.mask}
        if self.fixed:
            shared["summary"] = memory.summary
        if self.bahdanau is not None:
            attended = self.bahdanau.prepare(memory.values, memory.mask)
            shared.update(values=attended.values, keys=attended.keys)
        return DecodeState(shared, rows)

    def forward(self, embedded: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        summary = state.shared.get("summary")
        if self.attending is not None:
            outputs, final = self.attending(embedded, None, self._flat(state), self._memory(state))
        else:
            assert self.stack is not None
            outputs, finals = self.stack(embedded, None, self._by_layer(state), summary)
            final = tuple(tensor for states in finals for tensor in states)
            if self.bahdanau is not None:
                outputs = torch.cat([outputs, self.bahdanau.contexts(outputs, self._memory(state))], dim=-1)
        hidden = self.dropout(torch.tanh(self._read(torch.cat([outputs, embedded], dim=-1), summary)))
        return hidden, DecodeState(state.shared, {f"state{i}": tensor for i, tensor in enumerate(final)})

    def attention(self, embedded: Tensor, state: DecodeState) -> dict[str, Tensor]:
        if self.bahdanau is None:
            return {}
        if self.attending is not None:
            traced = self.attending.trace(embedded, None, self._flat(state), self._memory(state))
            return {"attention": traced["attention"]}
        assert self.stack is not None
        outputs, _ = self.stack(embedded, None, self._by_layer(state))
        return {"attention": self.bahdanau(outputs, self._memory(state))[1]}

    def gates(self, embedded: Tensor, state: DecodeState) -> Gates:
        """Layers are `decoder`, those of a stack `decoder 1` and so on, bottom up."""
        names = _levels("decoder", len(self.states_of))
        if self.attending is None:
            assert self.stack is not None
            traces = self.stack.trace(embedded, None, self._by_layer(state), state.shared.get("summary"))
            return dict(zip(names, map(_gates, traces), strict=True))
        traced = _gates(self.attending.trace(embedded, None, self._flat(state), self._memory(state)))
        traced.pop("attention")
        if len(names) == 1:
            return {names[0]: traced}
        return {name: StackedCell.of_level(n, traced) for n, name in enumerate(names, 1)}

    def _read(self, parts: Tensor, summary: Tensor | None) -> Tensor:
        """The readout before its tanh; the summary's share in it is computed once for each sentence."""
        if summary is None:
            return self.readout(parts)  # type: ignore[no-any-return]
        width = parts.size(-1)
        read = F.linear(parts, self.readout.weight[:, :width], self.readout.bias)
        share = F.linear(summary, self.readout.weight[:, width:])
        return read + share.repeat_interleave(parts.size(0) // len(share), dim=0).unsqueeze(1)

    @staticmethod
    def _memory(state: DecodeState) -> AttentionMemory:
        return AttentionMemory(state.shared["values"], state.shared["keys"], state.shared["mask"])

    @staticmethod
    def _flat(state: DecodeState) -> State:
        return tuple(state.rows[f"state{i}"] for i in range(len(state.rows)))

    def _by_layer(self, state: DecodeState) -> list[State]:
        flat, layers = self._flat(state), []
        for count in self.states_of:
            layers.append(flat[:count])
            flat = flat[count:]
        return layers


def _levels(part: str, count: int) -> list[str]:
    """Names for the levels of a stack; a single one needs no number."""
    return [part] if count == 1 else [f"{part} {number}" for number in range(1, count + 1)]


def _gates(traced: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A layer's trace without its states."""
    return {name: values for name, values in traced.items() if not name.startswith("state")}

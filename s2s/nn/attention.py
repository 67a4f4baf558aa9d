"""Additive attention: a weighted mean of the encoder's outputs, whose weights depend on a query.

Bahdanau et al. 2015, section 3.1, in the letters of their appendix A.1.2, the query being the decoder's state:

    e_ij = vᵀ tanh(W s_{i-1} + U h_j)      score of source position j
    α_i  = softmax_j(e_i)                  attention weights, over real source tokens only
    c_i  = Σ_j α_ij h_j                    context vector

The keys U h_j do not depend on the target and are computed once for each sentence (`AttentionMemory`).

B sentences, N = B × K hypotheses (those of a sentence side by side), S source time, D memory width, A attention width.
Memory belongs to sentences and is never repeated for the hypotheses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from s2s.nn.backends import Backend
from s2s.nn.cells import Cell
from s2s.nn.kernels.attention import AttentionOverTime, AttentionSequence, Query, StepForm
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.kernels.stepping import State, tanh, tanh_


class AttentionMemory(NamedTuple):
    """Values, keys and mask of the encoder's outputs, the same for all decoder steps."""

    values: Tensor  # (B, S, D)
    keys: Tensor  # (B, S, A)
    mask: Tensor  # (B, S), True at real tokens


class BahdanauAttention(nn.Module):
    """Additive attention, step by step; training runs the same equations by `s2s.nn.kernels.attention`.

    Args:
        query_size: width of the decoder's state s.
        memory_size: D.
        size: A.
    """

    def __init__(self, query_size: int, memory_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)  # W
        self.key = nn.Linear(memory_size, size)  # U, and one bias for both
        self.energy = nn.Linear(size, 1, bias=False)  # v
        for layer in (self.query, self.key, self.energy):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.key.bias)

    def prepare(self, values: Tensor, mask: Tensor) -> AttentionMemory:
        """The memory for encoder outputs (B, S, D) and their mask (B, S)."""
        return AttentionMemory(values, self.key(values), mask)

    def forward(self, query: Tensor, memory: AttentionMemory) -> tuple[Tensor, Tensor]:
        """(N, Q) or (N, T, Q) queries -> contexts (N, [T,] D) and weights (N, [T,] S), 0 at padding."""
        sentences = memory.values.size(0)
        queries = self.query(query).reshape(sentences, -1, 1, memory.keys.size(-1))  # (B, K·T, 1, A)
        hidden = queries + memory.keys.unsqueeze(1)
        hidden = torch.tanh(hidden) if torch.is_grad_enabled() else tanh_(hidden)
        scores = self.energy(hidden).squeeze(-1)  # (B, K·T, S)
        weights = torch.softmax(scores.masked_fill(~memory.mask.unsqueeze(1), -torch.inf), dim=-1)
        context = torch.bmm(weights.to(memory.values.dtype), memory.values)
        leading = query.shape[:-1]
        return context.reshape(*leading, -1), weights.reshape(*leading, -1)

    def contexts(self, queries: Tensor, memory: AttentionMemory) -> Tensor:
        """(N, T, Q) queries -> contexts (N, T, D), those of `forward`.

        With gradients and N = B by a custom backward pass that needs less memory.
        """
        if not torch.is_grad_enabled() or len(queries) != len(memory.values):
            return self(queries, memory)[0]  # type: ignore[no-any-return]
        return AttentionOverTime.apply(  # type: ignore[no-untyped-call, no-any-return]
            compute_dtype(queries), queries, *memory, self.query.weight, self.energy.weight
        )


class AttentionCell(Cell):
    """A cell and attention as one cell, so that `RecurrentLayer` owns time in the decoder, too.

    With `query="previous"` (Bahdanau et al. 2015) the old state is the query and the context vector enters the cell:

        c_i = attend(s_{i-1})      s_i = cell([y_i; c_i], s_{i-1})

    With `query="current"` (Luong et al. 2015) the new state is the query, and only the pre-output layer reads the
    context vector:

        s_i = cell(y_i, s_{i-1})   c_i = attend(s_i)

    With `input_feeding` (Luong et al. 2015, section 3.3) the attentional vector a_i = tanh(W_a [s_i; c_i]) of the last
    step is one more input of the cell, and takes the context vector's place in the output.

    The output, state[0], is [s_i; c_i] (with input feeding [s_i; a_i]), width `output_size`; the other states are those
    of the cell. The columns of the cell's input behind the embedding's are its *context inputs*.
    """

    def __init__(
        self, cell: Cell, attention: BahdanauAttention, query: Query, input_feeding: bool, memory_size: int
    ) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        self.cell = cell
        self.attention = attention
        self.query = query
        self.num_states = cell.num_states
        self.context_size = cell.hidden_size if input_feeding else memory_size
        self.context_inputs = self.context_width(query, input_feeding, cell.hidden_size, memory_size)
        self.attentional = nn.Linear(cell.output_size + memory_size, self.context_size) if input_feeding else None
        self.backend = _AttentionBackend()

    @staticmethod
    def context_width(query: str, input_feeding: bool, hidden_size: int, memory_size: int) -> int:
        """Columns of the wrapped cell's input behind the embedding's."""
        return (memory_size if query == "previous" else 0) + (hidden_size if input_feeding else 0)

    @property
    def output_size(self) -> int:
        return self.hidden_size + self.context_size

    def project(self, x: Tensor) -> Tensor:
        """The projection of the embedding alone; the embedding itself for a cell that is not affine in its input."""
        return self.cell.backend.project_first_columns(self.cell, x) if self.cell.affine_input else x

    def step(self, gx: Tensor, state: State, memory: AttentionMemory | None = None) -> State:
        return self.attend_and_step(gx, self.cell.affine_input, state, memory)[2]

    def add_context_inputs(self, gx: Tensor, projected: bool, parts: list[Tensor]) -> Tensor:
        """The wrapped cell's projected input, from `project` of the embedding, or from the embedding itself."""
        if not projected:
            return self.cell.project(torch.cat([gx, *parts], dim=-1))
        if not parts:
            return gx
        first = self.input_size - self.context_inputs
        columns = self.cell.backend.column_projection(self.cell, first, self.input_size)
        return gx + columns(torch.cat(parts, dim=-1))

    def attend_and_step(
        self, gx: Tensor, projected: bool, state: State, memory: AttentionMemory | None
    ) -> tuple[Tensor, State, State, Tensor]:
        """The wrapped cell's projected input and old state, the new state of this cell, the attention weights."""
        assert memory is not None, "attention needs the encoder's memory"
        s, attentional = torch.split(state[0], [self.hidden_size, self.context_size], dim=-1)
        old = (s, *state[1:])
        parts = [] if self.attentional is None else [attentional]
        if self.query == "previous":
            context, weights = self.attention(s, memory)
            gx = self.add_context_inputs(gx, projected, [context, *parts])
            new = self.cell.step(gx, old)
        else:
            gx = self.add_context_inputs(gx, projected, parts)
            new = self.cell.step(gx, old)
            context, weights = self.attention(new[0], memory)
        if self.attentional is not None:
            context = tanh(self.attentional(torch.cat([new[0], context], dim=-1)))
        return gx, old, (torch.cat([new[0], context], dim=-1), *new[1:]), weights

    def initial_state(self, batch: int, like: Tensor) -> State:
        first, *rest = self.cell.initial_state(batch, like)
        return (torch.cat([first, like.new_zeros(batch, self.context_size)], dim=-1), *rest)

    def gates(self, gx: Tensor, state: State, memory: AttentionMemory | None = None) -> dict[str, Tensor]:
        gx, old, _, weights = self.attend_and_step(gx, self.cell.affine_input, state, memory)
        return {**self.cell.gates(gx, old), "attention": weights}


class _AttentionBackend(Backend):
    """The wrapped cell's kernel with attention between its steps, if a step needs the context of the last one."""

    def has_kernel(self, cell: Cell) -> bool:
        assert isinstance(cell, AttentionCell)
        sequential = cell.query == "previous" or cell.attentional is not None
        return sequential and cell.cell.backend.kernel(cell.cell) is not None

    def advance(self, cell: Cell, x: Tensor, state: State, *memory: Any) -> State:
        assert isinstance(cell, AttentionCell)
        return cell.attend_and_step(x, False, state, *memory)[2]

    def sequence(self, cell: Cell, gx: Tensor, state: State, batch_sizes: list[int], *memory: Any) -> State:
        assert isinstance(cell, AttentionCell)
        source: AttentionMemory = memory[0]
        inner, attentional = cell.cell, cell.attentional
        kernel = inner.backend.kernel(inner)
        beam = state[0].size(0) > source.values.size(0)  # hypotheses of a sentence, in search
        if kernel is None or beam or not self.has_kernel(cell):
            return self.loop(cell, gx, state, batch_sizes, source)
        contexts, *states = AttentionSequence.apply(  # type: ignore[no-untyped-call]
            *(StepForm(kernel, cell.query, compute_dtype(state[0])), gx, *source),
            *(cell.attention.query.weight, cell.attention.energy.weight),
            inner.backend.input_weight(inner, cell.input_size - cell.context_inputs, cell.input_size),
            *((None, None) if attentional is None else (attentional.weight, attentional.bias)),
            *(state[0] if attentional is not None else state[0][:, : cell.hidden_size], *state[1:]),
            *inner.backend.recurrent_parameters(inner),
        )
        return (torch.cat([states[0], contexts], dim=-1), *states[1:])

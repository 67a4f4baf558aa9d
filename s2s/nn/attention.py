"""Attention: for each target word a weighted mean of the encoded source, with weights that the decoder's state chooses.

Bahdanau et al. 2015, section 3.1, in the letters of their appendix A.1.2:

    e_ij = vᵀ tanh(W s_{i-1} + U h_j)      how well source position j fits what the decoder needs now
    α_i  = softmax_j(e_i)                  over real source words only
    c_i  = Σ_j α_ij h_j                    the context

U h_j does not depend on the target, so it is computed once for each sentence (`prepare`).

B sentences, N = B × K hypotheses (those of a sentence side by side), S source time, D memory width, A attention width.
The keys are per sentence and are never repeated for the hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from s2s.nn.cells import Cell, State
from s2s.nn.dropout import Dropout
from s2s.nn.kernels.attention import AttentionOverTime, AttentionSequence, Query, Wiring
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.kernels.stepping import tanh, tanh_


class Keys(NamedTuple):
    """What attention needs of a memory, once for each sentence."""

    values: Tensor  # (B, S, D)
    projected: Tensor  # (B, S, A)
    mask: Tensor  # (B, S)


class BahdanauAttention(nn.Module):
    """Additive attention.

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

    def prepare(self, values: Tensor, mask: Tensor) -> Keys:
        """(B, S, D) memory and (B, S) mask -> keys."""
        return Keys(values, self.key(values), mask)

    def forward(self, query: Tensor, keys: Keys) -> tuple[Tensor, Tensor]:
        """(N, Q) or (N, T, Q) queries -> contexts (N, [T,] D) and weights (N, [T,] S), the latter 0 at padding."""
        sentences = keys.values.size(0)
        asked = self.query(query).reshape(sentences, -1, 1, keys.projected.size(-1))  # (B, K·T, 1, A)
        hidden = asked + keys.projected.unsqueeze(1)
        hidden = torch.tanh(hidden) if torch.is_grad_enabled() else tanh_(hidden)
        scores = self.energy(hidden).squeeze(-1)  # (B, K·T, S)
        weights = torch.softmax(scores.masked_fill(~keys.mask.unsqueeze(1), -torch.inf), dim=-1)
        context = torch.bmm(weights.to(keys.values.dtype), keys.values)
        leading = query.shape[:-1]
        return context.reshape(*leading, -1), weights.reshape(*leading, -1)

    def contexts(self, queries: Tensor, keys: Keys) -> Tensor:
        """(N, T, Q) queries -> contexts (N, T, D): those of `forward`.

        Where gradients are wanted and N = B, with less memory and a backward pass by hand.
        """
        if not torch.is_grad_enabled() or len(queries) != len(keys.values):
            return self(queries, keys)[0]  # type: ignore[no-any-return]
        given = (
            compute_dtype(queries),
            queries,
            keys.values,
            keys.projected,
            keys.mask,
            self.query.weight,
            self.energy.weight,
        )
        return AttentionOverTime.apply(*given)  # type: ignore[no-untyped-call, no-any-return]


class Prepared:
    """What `AttentionCell` needs at each step and is the same for a whole sequence.

    Args:
        keys: of the sentences.
        columns: makes `extra`.
    """

    def __init__(self, keys: Keys, columns: Callable[[], Callable[[Tensor], Tensor]]) -> None:
        self.keys = keys
        self._columns = columns

    @cached_property
    def extra(self) -> Callable[[Tensor], Tensor]:
        """The part of the cell's input that stands after the embedding, made when it is first asked for."""
        return self._columns()


class StackedCell(Cell):
    """Several cells on top of each other as one cell; the states of the top cell come first, of the bottom one last."""

    num_states: ClassVar[int]

    def __init__(self, cells: list[Cell], dropout: float) -> None:
        super().__init__(cells[0].input_size, cells[-1].hidden_size)
        self.cells = nn.ModuleList(cells)
        self.dropout = Dropout(dropout)
        self.affine_input = cells[0].affine_input  # type: ignore[misc]  # of this stack, not of the class
        self.num_states = sum(cell.num_states for cell in cells)  # type: ignore[misc]

    def _bottom_up(self) -> list[Cell]:
        return [cell for cell in self.cells if isinstance(cell, Cell)]

    def project(self, x: Tensor) -> Tensor:
        return self._bottom_up()[0].project(x)

    def input_columns(self, start: int, stop: int) -> Callable[[Tensor], Tensor]:
        return self._bottom_up()[0].input_columns(start, stop)

    def _steps(self, gx: Tensor, state: State) -> list[tuple[Cell, Tensor, State, State]]:
        """For each cell, bottom up: the cell, its input's part, its old state and its new one."""
        steps: list[tuple[Cell, Tensor, State, State]] = []
        end = len(state)
        for level, cell in enumerate(self._bottom_up()):
            if level > 0:
                gx = cell.project(self.dropout(steps[-1][3][0]))
            old = state[end - cell.num_states : end]
            steps.append((cell, gx, old, cell.step(gx, old)))
            end -= cell.num_states
        return steps

    def step(self, gx: Tensor, state: State) -> State:
        return tuple(tensor for _, _, _, new in reversed(self._steps(gx, state)) for tensor in new)

    def initial_state(self, batch: int, like: Tensor) -> State:
        return tuple(s for cell in reversed(self._bottom_up()) for s in cell.initial_state(batch, like))

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        return {
            f"layer{level}.{name}": value
            for level, (cell, inputs, old, _) in enumerate(self._steps(gx, state), 1)
            for name, value in cell.gates(inputs, old).items()
        }

    @staticmethod
    def of_level(level: int, gates: dict[str, Tensor]) -> dict[str, Tensor]:
        """The gates of one cell, the lowest being 1, by their own names."""
        own = f"layer{level}."
        return {name.removeprefix(own): value for name, value in gates.items() if name.startswith(own)}


class AttentionCell(Cell):
    """A cell and attention as one cell, so that `RecurrentLayer` still owns time in the decoder.

    With `query="previous"` (Bahdanau et al. 2015) the old state asks and the context enters the cell:

        c_i = attend(s_{i-1})      s_i = cell([y_i; c_i], s_{i-1})

    With `query="current"` (Luong et al. 2015) the new state asks, and the context is for the readout:

        s_i = cell(y_i, s_{i-1})   c_i = attend(s_i)

    With `input_feeding` (Luong et al. 2015, section 3.3) the attentional vector a_i = tanh(W_a [s_i; c_i]) of the last
    step is one more input of the cell, and takes the context's place in the output.

    The output, state[0], is [s_i; c_i] (with input feeding [s_i; a_i]), width `output_size`; the other states are those
    of the cell. What `prepare` returns are per-sentence constants: the third argument of `step`.
    """

    def __init__(
        self, cell: Cell, attention: BahdanauAttention, query: Query, input_feeding: bool, memory_size: int
    ) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        self.cell = cell
        self.attention = attention
        self.query = query
        self.num_states = cell.num_states  # type: ignore[misc]
        self.context_size = cell.hidden_size if input_feeding else memory_size
        self.attentional = nn.Linear(cell.output_size + memory_size, self.context_size) if input_feeding else None

    @staticmethod
    def extra_inputs(query: str, input_feeding: bool, hidden_size: int, memory_size: int) -> int:
        """Columns that the wrapped cell's input has after the embedding's."""
        return (memory_size if query == "previous" else 0) + (hidden_size if input_feeding else 0)

    @property
    def output_size(self) -> int:
        return self.hidden_size + self.context_size

    def prepare(self, keys: Keys) -> Prepared:
        """The constants of `step` for sentences with these keys."""
        extra = self.extra_inputs(self.query, self.attentional is not None, self.hidden_size, keys.values.size(-1))
        return Prepared(keys, lambda: self.cell.input_columns(self.input_size - extra, self.input_size))

    def project(self, x: Tensor) -> Tensor:
        """The embedding's part only; a cell that is not affine in its input waits for the whole input."""
        return self.cell.project_start(x) if self.cell.affine_input else x

    def _step(
        self, whole: Callable[[list[Tensor]], Tensor], state: State, keys: Keys
    ) -> tuple[Tensor, State, State, Tensor]:
        """The cell's whole input part, its old state, the new state of this cell, and the attention weights.

        Args:
            whole: the input part, from the parts of the input that are known now only.
        """
        s, fed = torch.split(state[0], [self.hidden_size, self.context_size], dim=-1)
        old = (s, *state[1:])
        parts = [] if self.attentional is None else [fed]
        if self.query == "previous":
            context, weights = self.attention(s, keys)
            gx = whole([context, *parts])
            new = self.cell.step(gx, old)
        else:
            gx = whole(parts)
            new = self.cell.step(gx, old)
            context, weights = self.attention(new[0], keys)
        if self.attentional is not None:
            context = tanh(self.attentional(torch.cat([new[0], context], dim=-1)))
        return gx, old, (torch.cat([new[0], context], dim=-1), *new[1:]), weights

    def _projected(self, gx: Tensor, constants: Prepared) -> Callable[[list[Tensor]], Tensor]:
        """How the whole input part comes of what `project` made of the embedding."""
        if not self.cell.affine_input:
            return partial(self._whole, gx)
        return lambda parts: gx + constants.extra(torch.cat(parts, dim=-1)) if parts else gx

    def _whole(self, x: Tensor, parts: list[Tensor]) -> Tensor:
        return self.cell.project(torch.cat([x, *parts], dim=-1))

    def step(self, gx: Tensor, state: State, constants: Prepared | None = None) -> State:
        assert constants is not None, "AttentionCell needs what its prepare returns"
        return self._step(self._projected(gx, constants), state, constants.keys)[2]

    def advance(self, x: Tensor, state: State, constants: Prepared | None = None) -> State:
        assert constants is not None, "AttentionCell needs what its prepare returns"
        return self._step(partial(self._whole, x), state, constants.keys)[2]

    @property
    def by_hand(self) -> bool:
        return (self.query == "previous" or self.attentional is not None) and self.cell.by_hand

    def sequence(self, gx: Tensor, state: State, sizes: list[int], constants: Prepared | None = None) -> State:
        assert constants is not None, "AttentionCell needs what its prepare returns"
        keys = constants.keys
        if not self.by_hand or state[0].size(0) > keys.values.size(0):  # search, with several hypotheses of a sentence
            return self.loop(gx, state, sizes, constants)
        assert self.cell.kernel is not None
        feeds = self.attentional is not None
        wiring = Wiring(self.cell.kernel, self.query, feeds, compute_dtype(state[0]))
        extra = self.extra_inputs(self.query, wiring.input_feeding, self.hidden_size, keys.values.size(-1))
        mixing = (None, None) if self.attentional is None else (self.attentional.weight, self.attentional.bias)
        contexts, *states = AttentionSequence.apply(  # type: ignore[no-untyped-call]
            *(wiring, gx, *keys, self.attention.query.weight, self.attention.energy.weight),
            *(self.cell.input_weight(self.input_size - extra, self.input_size), *mixing),
            *(state[0] if self.attentional else state[0][:, : self.hidden_size], *state[1:]),
            *self.cell.recurrent_parameters(),
        )
        return (torch.cat([states[0], contexts], dim=-1), *states[1:])

    def initial_state(self, batch: int, like: Tensor) -> State:
        first, *rest = self.cell.initial_state(batch, like)
        return (torch.cat([first, like.new_zeros(batch, self.context_size)], dim=-1), *rest)

    def gates(self, gx: Tensor, state: State, constants: Prepared | None = None) -> dict[str, Tensor]:
        assert constants is not None, "AttentionCell needs what its prepare returns"
        inputs, old, _, weights = self._step(self._projected(gx, constants), state, constants.keys)
        return {**self.cell.gates(inputs, old), "attention": weights}

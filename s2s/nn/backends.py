"""Recurrence backends: implementations of a cell's steps over whole sequences.

- `loop`: a Python loop over `Cell.step`, differentiated by autograd. Every cell has it.
- `bptt`: a kernel with a hand-derived backward pass, see `s2s.nn.kernels`.
- `scan`: all steps in a number of operations logarithmic in their number; cells that are linear in their state.
- `torch`: torch's fused function, cuDNN on a GPU.

A cell names one `Backend`: its kernel with the parameters in the kernel's order, the equivalent torch function, and the
matrix of the input projection, whose columns belong to inputs that become known at different times. A user's cell needs
nothing of this: it has the base class.

Shapes: B batch, N rows of all steps (`s2s.nn.packing`), I input, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.kernels.bptt import RecurrentSequence
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.kernels.fused import TorchRNN
from s2s.nn.kernels.gru import GRUAfterSteps, GRUSteps, MGUSteps
from s2s.nn.kernels.lstm import LSTMSteps
from s2s.nn.kernels.rnn import RNNSteps
from s2s.nn.kernels.sru import SRUSteps
from s2s.nn.kernels.stepping import State, StepKernel

if TYPE_CHECKING:
    from s2s.nn.cells import GRU, LSTM, RNN, SRU, Cell


class Backend:
    """The loop over `step`, for any cell; subclasses add faster implementations."""

    def kernel(self, cell: Cell) -> type[StepKernel] | None:
        """The kernel of the cell, whose parameters are `recurrent_parameters`; None without one."""
        return None

    def recurrent_parameters(self, cell: Cell) -> tuple[Tensor, ...]:
        """The recurrent weight (G·H, H), then the biases inside the recurrence."""
        raise NotImplementedError

    def in_torch(self, cell: Cell) -> bool:
        """Whether torch has a recurrent function for the cell."""
        return False

    def torch_equivalent(self, cell: Cell) -> TorchRNN:
        """torch's recurrent function with the parameters of a cell that is `in_torch`."""
        raise NotImplementedError

    def input_weight(self, cell: Cell, start: int, stop: int) -> Tensor | None:
        """Columns start … stop - 1 of the matrix in `project`, (·, stop - start); None without such a matrix."""
        return None

    def has_kernel(self, cell: Cell) -> bool:
        """Whether `sequence` differs from `loop`; a subclass that overrides `sequence` returns True."""
        return self.kernel(cell) is not None

    def sequence(self, cell: Cell, gx: Tensor, state: State, batch_sizes: list[int], *memory: Any) -> State:
        """All steps by the cell's kernel; by the loop without one.

        Args:
            gx: (N, ·) packed input projection (`s2s.nn.packing`); under autocast it may have autocast's dtype.
            state: (B_0, ·) before the first step; states and gates of all steps have its dtype.
            batch_sizes: rows of each step; those of step t continue the first batch_sizes[t] rows of the old state.
            memory: further arguments of `step`.

        Returns:
            Each state after each step, (N, ·).
        """
        if not batch_sizes or self.kernel(cell) is None:
            return self.loop(cell, gx, state, batch_sizes, *memory)
        return run_together([cell], [gx], [state], batch_sizes)[0]

    def loop(self, cell: Cell, gx: Tensor, state: State, batch_sizes: list[int], *memory: Any) -> State:
        """`sequence` as a loop over `step`."""
        states = [tuple(s[:0] for s in state)]
        for rows in gx.to(state[0].dtype).split_with_sizes(batch_sizes):
            state = cell.step(rows, tuple(s[: len(rows)] for s in state), *memory)
            states.append(state)
        return tuple(torch.cat(tensors) for tensors in zip(*states, strict=True))

    def has_scan(self, cell: Cell) -> bool:
        """Whether the cell has `scan`."""
        return False

    def scan(self, cell: Cell, gx: Tensor, state: State, batch_sizes: list[int]) -> State:
        """`sequence` as a scan."""
        raise NotImplementedError

    def advance(self, cell: Cell, x: Tensor, state: State, *memory: Any) -> State:
        """One step from the unprojected input (B, I), for search."""
        return cell.step(cell.project(x).to(state[0].dtype), state, *memory)

    def project_first_columns(self, cell: Cell, x: Tensor) -> Tensor:
        """`project` of the input [x; 0] for x (…, n <= I)."""
        missing = cell.input_size - x.size(-1)
        if missing == 0:
            return cell.project(x)
        weight = self.input_weight(cell, 0, x.size(-1))
        if weight is None:
            return cell.project(F.pad(x, (0, missing)))
        return F.linear(x, weight, cell.project(x.new_zeros(cell.input_size)))

    def column_projection(self, cell: Cell, start: int, stop: int) -> Callable[[Tensor], Tensor]:
        """The linear map from input columns start … stop - 1 to their share of `project`, without the bias.

        Returns:
            (…, stop - start) -> (…, ·). Without an `input_weight` it is f([0; x; 0]) - f(0) for the affine map f.
        """
        weight = self.input_weight(cell, start, stop)
        if weight is None:
            padding = (start, cell.input_size - stop)
            return lambda x: cell.project(F.pad(x, padding)) - cell.project(x.new_zeros(cell.input_size))
        weight = weight.to(compute_dtype(weight))  # once, where autocast would cast it at each step
        return lambda x: F.linear(x, weight)


def run_together(
    cells: Sequence[Cell], gx: Sequence[Tensor], state: Sequence[State], batch_sizes: list[int]
) -> list[State]:
    """`Backend.sequence` of several cells; cells with the same kernel and size step together."""
    kernel = cells[0].backend.kernel(cells[0])
    same = all(cell.backend.kernel(cell) is kernel and cell.hidden_size == cells[0].hidden_size for cell in cells)
    if kernel is None or not same or not batch_sizes:
        return [c.backend.sequence(c, inputs, s, batch_sizes) for c, inputs, s in zip(cells, gx, state, strict=True)]
    by_cell = [(*s, *cell.backend.recurrent_parameters(cell)) for cell, s in zip(cells, state, strict=True)]
    tensors = by_cell[0] if len(cells) == 1 else [torch.stack(group) for group in zip(*by_cell, strict=True)]
    states = RecurrentSequence.apply(  # type: ignore[no-untyped-call]
        kernel, compute_dtype(state[0][0]), batch_sizes, len(cells), *gx, *tensors
    )
    return [states] if len(cells) == 1 else list(zip(*(s.unbind(0) for s in states), strict=True))


class _KernelBackend(Backend):
    """Backend of a cell with a kernel and the input projection `weight_ih x + bias`."""

    def __init__(self, kernel: type[StepKernel]) -> None:
        self._kernel = kernel

    def kernel(self, cell: Cell) -> type[StepKernel] | None:
        return self._kernel

    def recurrent_parameters(self, cell: Cell) -> tuple[Tensor, ...]:
        return (cast("RNN", cell).weight_hh,)

    def input_weight(self, cell: Cell, start: int, stop: int) -> Tensor | None:
        return cast("RNN", cell).weight_ih[:, start:stop]


class _RNNBackend(_KernelBackend):
    def in_torch(self, cell: Cell) -> bool:
        return True

    def torch_equivalent(self, cell: Cell) -> TorchRNN:
        rnn = cast("RNN", cell)
        return TorchRNN("rnn_tanh", rnn.weight_ih, rnn.weight_hh, rnn.bias, torch.zeros_like(rnn.bias))


class _LSTMBackend(_KernelBackend):
    def recurrent_parameters(self, cell: Cell) -> tuple[Tensor, ...]:
        lstm = cast("LSTM", cell)
        return (lstm.with_removed_gate(lstm.weight_hh),)

    def input_weight(self, cell: Cell, start: int, stop: int) -> Tensor | None:
        lstm = cast("LSTM", cell)
        return lstm.with_removed_gate(lstm.weight_ih[:, start:stop])

    def in_torch(self, cell: Cell) -> bool:
        return cast("LSTM", cell).removed_gate is None

    def torch_equivalent(self, cell: Cell) -> TorchRNN:
        lstm = cast("LSTM", cell)
        gates = (parameter.chunk(4) for parameter in (lstm.weight_ih, lstm.weight_hh, lstm.bias))
        weight_ih, weight_hh, bias = (torch.cat([i, f, c, o]) for f, i, o, c in gates)  # torch's order
        return TorchRNN("lstm", weight_ih, weight_hh, bias, torch.zeros_like(bias))


class _GRUBackend(_KernelBackend):
    def kernel(self, cell: Cell) -> type[StepKernel] | None:
        return GRUAfterSteps if cast("GRU", cell).reset == "after" else GRUSteps

    def recurrent_parameters(self, cell: Cell) -> tuple[Tensor, ...]:
        gru = cast("GRU", cell)
        return (gru.weight_hh, gru.bias_hn) if gru.reset == "after" else (gru.weight_hh,)

    def in_torch(self, cell: Cell) -> bool:
        return cast("GRU", cell).reset == "after"

    def torch_equivalent(self, cell: Cell) -> TorchRNN:
        gru = cast("GRU", cell)
        gates = (parameter.chunk(3) for parameter in (gru.weight_ih, gru.weight_hh, gru.bias))
        # torch's order is r, 1 - z, h̃, and 1 - σ(a) = σ(-a).
        weight_ih, weight_hh, bias = (torch.cat([r, -z, candidate]) for z, r, candidate in gates)
        return TorchRNN("gru", weight_ih, weight_hh, bias, F.pad(gru.bias_hn, (2 * gru.hidden_size, 0)))


class _SRUBackend(_KernelBackend):
    def recurrent_parameters(self, cell: Cell) -> tuple[Tensor, ...]:
        return (cast("SRU", cell).weight_c,)

    def input_weight(self, cell: Cell, start: int, stop: int) -> Tensor | None:
        sru = cast("SRU", cell)
        skip: Tensor | None = sru.weight_skip
        if skip is None:
            skip = torch.eye(sru.hidden_size, dtype=sru.weight_ih.dtype, device=sru.weight_ih.device)
        return torch.cat([sru.weight_ih[:, start:stop], skip[:, start:stop]])


LOOP = Backend()
RNN_BACKEND = _RNNBackend(RNNSteps)
LSTM_BACKEND = _LSTMBackend(LSTMSteps)
GRU_BACKEND = _GRUBackend(GRUSteps)
MGU_BACKEND = _KernelBackend(MGUSteps)
SRU_BACKEND = _SRUBackend(SRUSteps)

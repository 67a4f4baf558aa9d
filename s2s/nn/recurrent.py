"""Recurrent layers: cells over time, the only place that knows time, padding and direction.

A `RecurrentLayer` runs a cell over a batch of sequences of unequal lengths, padded at their end. Padding changes no
output and no final state, whatever it contains. A reversed layer reads each sequence from its own end.

The batch is packed (`s2s.nn.packing`) in the order of reading. The input projection of all steps is one matrix
multiplication, the steps run over the rows of each step, and the outputs are unpacked.

`recurrence` selects the backend (`s2s.nn.backends`): `loop`, `bptt`, `scan` or `torch`. On a GPU `auto` is torch's
function (cuDNN) where it has the cell: `rnn`, `lstm`, and `gru` with reset=after, without attention inside the step; or
the scan of a cell that is linear in its state. Else it is the cell's kernel, on a CPU the fastest for every cell, size,
dtype and direction measured (results/README.md), and the loop for a cell without one.

`layout` is `packed`, without padding, or `padded`. `auto` is packed on a CPU. On a GPU, whose time for a step hardly
depends on the number of rows, it is padded if at least three quarters of the batch are real tokens, or if only the GPU
knows how many there are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from s2s import devices
from s2s.nn.backends import Backend, run_together
from s2s.nn.cells import Cell
from s2s.nn.dropout import Dropout
from s2s.nn.kernels import fused
from s2s.nn.kernels.stepping import State
from s2s.nn.packing import Packing

log = logging.getLogger(__name__)

Recurrence = Literal["auto", "loop", "bptt", "scan", "torch"]
Layout = Literal["auto", "packed", "padded"]

DENSE = 0.75  # share of real elements from which a GPU uses the padded layout


class RecurrentLayer(nn.Module):
    """A cell over time.

    Args:
        cell: one step.
        reverse: read each sequence from its last real element to its first; outputs keep the order of x.

    Attributes:
        recurrence, layout: see the docstring of this module. A backend that the cell lacks falls back to `auto`; a
            stack's layout overrides that of its layers.
    """

    def __init__(self, cell: Cell, reverse: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.reverse = reverse
        self.recurrence: Recurrence = "auto"
        self.layout: Layout = "auto"

    def select_backend(self, device: torch.device) -> tuple[Recurrence, str]:
        """The backend on this device, never `auto`, and the reason for it."""
        has_kernel = self.cell.backend.has_kernel(self.cell)
        has_scan = self.cell.backend.has_scan(self.cell)
        in_torch = self.cell.backend.in_torch(self.cell)
        if self.recurrence == "loop" or (self.recurrence == "bptt" and has_kernel):
            return self.recurrence, "as configured"
        if (self.recurrence == "torch" and in_torch) or (self.recurrence == "scan" and has_scan):
            return self.recurrence, "as configured"
        if device.type == "cuda" and in_torch:
            return "torch", "cuDNN" if fused.in_cudnn(torch.bfloat16, device) else "cuDNN, in fp32: it has no bf16 here"
        if device.type == "cuda" and has_scan:
            return "scan", "the cell is linear in its state"
        if has_kernel:
            reason = "fastest on a CPU" if device.type == "cpu" else "torch has no function for this cell"
            return "bptt", f"hand-derived backward pass, {reason}"
        return "loop", "the cell has no kernel"

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        state: State | None = None,
        *memory: Any,
        context: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Runs the layer.

        Args:
            x: (B, T, I), or (B, T, I - C) with a context.
            mask: (B, T), True at real elements, which come first; None when all are real.
            state: before the first step; the cell's initial state when None.
            memory: further arguments of the step of a cell such as `AttentionCell`, in the order of x; without a mask
                only.
            context: (B / n, C) a fixed context vector, which follows x in the input of every step; each of its rows
                serves n sequences.

        Returns:
            outputs (B, T, output_size), 0 at padding, and the state after each sequence's last element.
        """
        if mask is None and x.size(1) == 1 and state is not None:
            whole, before = _with_context(x, context).squeeze(1), tuple(map(_at_least_fp32, state))
            new = self.cell.backend.advance(self.cell, whole, before, *memory)
            return new[0].unsqueeze(1), new
        return self.run(x, self.directed(lay_out(x, mask, self.layout)), state, *memory, context=context)

    def directed(self, forward: Packing) -> Packing:
        """The layout of a batch in this layer's direction."""
        return forward.reversed() if self.reverse else forward

    def run(
        self, x: Tensor, packing: Packing, state: State | None, *memory: Any, context: Tensor | None
    ) -> tuple[Tensor, State]:
        """`forward` with a known layout."""
        name, _ = self.select_backend(x.device)
        if name == "torch":
            return self._run_torch(x, packing, state, context)
        gx, initial = self._project_and_init(x, packing, state, context)
        backend = self.cell.backend
        run = {"loop": backend.loop, "bptt": backend.sequence, "scan": backend.scan}[name]
        states = run(self.cell, gx, packing.first(initial), packing.batch_sizes, *memory)
        return packing.unpack(states[0]), packing.final(states, initial)

    @staticmethod
    def run_level(
        layers: list[RecurrentLayer], x: Tensor, whole: Packing, states: list[State | None], context: Tensor | None
    ) -> list[tuple[Tensor, State]]:
        """`run` of the layers of one level over the same input; cells that share a kernel step together."""
        runs = [(layer, layer.directed(whole), state) for layer, state in zip(layers, states, strict=True)]
        if len(layers) == 1 or any(layer.select_backend(x.device)[0] != "bptt" for layer in layers):
            return [layer.run(x, packing, state, context=context) for layer, packing, state in runs]
        starts = [layer._project_and_init(x, packing, state, context) for layer, packing, state in runs]
        first = [whole.first(initial) for _, initial in starts]
        results = run_together([layer.cell for layer in layers], [gx for gx, _ in starts], first, whole.batch_sizes)
        return [
            (packing.unpack(outputs[0]), packing.final(outputs, initial))
            for (_, packing, _), outputs, (_, initial) in zip(runs, results, starts, strict=True)
        ]

    def trace(
        self,
        x: Tensor,
        mask: Tensor | None,
        state: State | None = None,
        *memory: Any,
        context: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Every state and gate, through the loop, with gradients, for the arguments of `forward`.

        Returns:
            (B, T, ·) by name: `state0` (the output h), `state1` …, and the cell's gates; 0 at padding.
        """
        packing = self.directed(Packing.of(x, mask))
        gx, initial = self._project_and_init(x, packing, state, context)
        current = packing.first(initial)
        rows: list[dict[str, Tensor]] = []
        for inputs in gx.to(initial[0].dtype).split_with_sizes(packing.batch_sizes):
            old = tuple(s[: len(inputs)] for s in current)
            current = self.cell.step(inputs, old, *memory)
            rows.append({f"state{i}": s for i, s in enumerate(current)} | self.cell.gates(inputs, old, *memory))
        return {name: packing.unpack(torch.cat([row[name] for row in rows])) for name in rows[0]}

    def _project_and_init(
        self, x: Tensor, packing: Packing, state: State | None, context: Tensor | None
    ) -> tuple[Tensor, State]:
        """The input projection (N, ·) of all steps, a context vector projected once; and the initial state (B, H)."""
        cell, backend = self.cell, self.cell.backend
        if context is None or not cell.affine_input:
            projected = cell.project(packing.pack(_with_context(x, context)))
        else:
            share = backend.column_projection(cell, x.size(-1), cell.input_size)(context)
            each = share.repeat_interleave(x.size(0) // context.size(0), dim=0)
            projected = packing.add(backend.project_first_columns(cell, packing.pack(x)), each)
        if state is None:
            state = cell.initial_state(x.size(0), _at_least_fp32(projected.new_empty(0)))
        return projected, tuple(map(_at_least_fp32, state))

    def _run_torch(
        self, x: Tensor, packing: Packing, state: State | None, context: Tensor | None
    ) -> tuple[Tensor, State]:
        if state is None:
            state = self.cell.initial_state(x.size(0), _at_least_fp32(x.new_empty(0)))
        rows = packing.pack(_with_context(x, context))
        rnn = self.cell.backend.torch_equivalent(self.cell)
        outputs, final = fused.run(rnn, rows, packing.batch_sizes, packing.first(state), packing.padding)
        if packing.padding is None:
            return packing.unpack(outputs), packing.in_batch_order(final, state)
        (output,) = packing.final((outputs,), state[:1])
        return packing.unpack(outputs), (output, *final[1:])


def _at_least_fp32(state: Tensor) -> Tensor:
    """A state in fp32 or wider: bf16's 8 bits are too few to accumulate over a long sequence."""
    return state.to(torch.promote_types(state.dtype, torch.float32))


def _with_context(x: Tensor, context: Tensor | None) -> Tensor:
    """[x; context] (B, T, I) from x (B, T, I - C) and context (B / n, C)."""
    if context is None:
        return x
    each = context.repeat_interleave(x.size(0) // context.size(0), dim=0)
    return torch.cat([x, each.unsqueeze(1).expand(-1, x.size(1), -1)], dim=-1)


def lay_out(x: Tensor, mask: Tensor | None, layout: Layout, lengths: Sequence[int] | None = None) -> Packing:
    """The packed or padded layout of x (B, T, ·); for mask and lengths see `Packing.of`."""
    if layout == "auto":
        dense = lengths is None or sum(lengths) >= DENSE * x.size(0) * x.size(1)
        layout = "padded" if devices.on_gpu(x) and dense else "packed"
    if mask is None or layout == "packed" or (lengths is not None and min(lengths) == x.size(1)):
        return Packing.of(x, mask, lengths)
    return Packing.padded(x, mask)


class RecurrentStack(nn.Module):
    """Layers on top of each other, each in one or both directions, with dropout in between.

    Args:
        levels: for each level its layers: one, or a forward and a reversed one whose outputs are concatenated.
        dropout: between levels.
    """

    def __init__(self, levels: list[list[RecurrentLayer]], dropout: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.ModuleList(level) for level in levels)
        self.dropout = Dropout(dropout)
        self.output_size = sum(layer.cell.output_size for layer in levels[-1])
        self.layout: Layout = "auto"

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        states: list[State] | None = None,
        context: Tensor | None = None,
        lengths: Sequence[int] | None = None,
    ) -> tuple[Tensor, list[State]]:
        """(B, T, I) -> outputs (B, T, ·) and the final state of each layer, bottom up, forward before reversed.

        A context, see `RecurrentLayer`, is an input of the first level. For the lengths see `Packing.of`.
        """
        finals: list[State] = []
        packing = lay_out(x, mask, self.layout, lengths)
        for layers, initial in self._levels(states):
            if finals:
                x, context = self.dropout(x), None
            results = RecurrentLayer.run_level(layers, x, packing, initial, context)
            finals += [final for _, final in results]
            x = results[0][0] if len(results) == 1 else torch.cat([output for output, _ in results], dim=-1)
        return x, finals

    def trace(
        self, x: Tensor, mask: Tensor | None, states: list[State] | None = None, context: Tensor | None = None
    ) -> list[dict[str, Tensor]]:
        """`RecurrentLayer.trace` of each layer, in the order of the states, for the arguments of `forward`."""
        traces: list[dict[str, Tensor]] = []
        for layers, initial in self._levels(states):
            if traces:
                x, context = self.dropout(x), None
            traces += [layer.trace(x, mask, s, context=context) for layer, s in zip(layers, initial, strict=True)]
            x = torch.cat([trace["state0"] for trace in traces[-len(layers) :]], dim=-1)
        return traces

    def _levels(self, states: list[State] | None) -> Iterator[tuple[list[RecurrentLayer], list[State | None]]]:
        """The layers of each level with their initial states."""
        remaining: Iterator[State | None] = repeat(None) if states is None else iter(states)
        for level in self.levels:
            layers: list[RecurrentLayer] = list(level)  # type: ignore[call-overload]
            yield layers, list(islice(remaining, len(layers)))


class StackedCell(Cell):
    """Cells on top of each other as one cell, with dropout in between.

    State: the states of the top cell, then those of each cell below it, as a cell's output is its first state.
    """

    def __init__(self, cells: list[Cell], dropout: float) -> None:
        super().__init__(cells[0].input_size, cells[-1].hidden_size)
        self.cells = nn.ModuleList(cells)
        self.dropout = Dropout(dropout)
        self.num_states = sum(cell.num_states for cell in cells)
        self.affine_input = cells[0].affine_input
        self.backend = _StackedBackend()

    def bottom_up(self) -> list[Cell]:
        return cast("list[Cell]", list(self.cells))

    def project(self, x: Tensor) -> Tensor:
        return self.bottom_up()[0].project(x)

    def _steps(self, gx: Tensor, state: State) -> Iterator[tuple[Cell, Tensor, State, State]]:
        """For each cell, bottom up: the cell, its projected input, its old state and its new one."""
        new: State = ()
        for cell in self.bottom_up():
            gx = cell.project(self.dropout(new[0])) if new else gx
            state, old = state[: -cell.num_states], state[-cell.num_states :]
            new = cell.step(gx, old)
            yield cell, gx, old, new

    def step(self, gx: Tensor, state: State) -> State:
        return tuple(s for _, _, _, new in reversed(list(self._steps(gx, state))) for s in new)

    def initial_state(self, batch: int, like: Tensor) -> State:
        return tuple(s for cell in reversed(self.bottom_up()) for s in cell.initial_state(batch, like))

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        """The gates of each cell, with the prefix `layer1.` for the bottom one and so on."""
        return {
            f"layer{level}.{name}": value
            for level, (cell, inputs, old, _) in enumerate(self._steps(gx, state), 1)
            for name, value in cell.gates(inputs, old).items()
        }


class _StackedBackend(Backend):
    """The input projection is that of the bottom cell."""

    def input_weight(self, cell: Cell, start: int, stop: int) -> Tensor | None:
        bottom = cast(StackedCell, cell).bottom_up()[0]
        return bottom.backend.input_weight(bottom, start, stop)


def set_recurrence(model: nn.Module, recurrence: Recurrence, device: torch.device, layout: Layout = "auto") -> None:
    """Sets recurrence and layout of all layers, and logs the backend on this device with the reason."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (RecurrentLayer, RecurrentStack)):
            layer.layout = layout
        if isinstance(layer, RecurrentLayer):
            layer.recurrence = recurrence
            names.setdefault(layer.select_backend(device), []).append(name.split(".")[0])
    for (backend, reason), components in names.items():
        log.info("recurrence of %s: %s (%s)", " and ".join(dict.fromkeys(components)), backend, reason)


def check_recurrence(model: nn.Module, recurrence: Recurrence) -> list[str]:
    """A list with an error if no layer of the model has the configured backend."""
    layers = [layer for layer in model.modules() if isinstance(layer, RecurrentLayer)]
    if recurrence == "auto" or recurrence not in get_args(Recurrence) or not layers:
        return []
    for layer in layers:
        layer.recurrence = recurrence
        if layer.select_backend(torch.device("cpu"))[0] == recurrence:
            return []
    known = ", ".join(get_args(Recurrence))
    return [f"recurrence={recurrence}: no cell of this model has it; it is one of {known}, and auto always works"]

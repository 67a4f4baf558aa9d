"""Time, padding and direction: the only place that knows them.

`RecurrentLayer` runs a cell over a batch of sequences of unequal lengths. Sequences are padded at their end; padding
changes no output and no final state, whatever it contains. A reversed layer reads each sequence from its own end.

How: the batch is laid out as rows (see `s2s.nn.packing`), which is also where a reversed layer's order is made; the
input's part of all steps is one matrix product, the steps run over the rows of each step, and outputs go back to their
places. `layout` is `packed`, without padding, or `padded`. `auto` is packed on a CPU; on a GPU, whose time for a step
hardly depends on the number of rows, it is padded where at least three quarters of the batch are real elements, and
where only the GPU knows how many there are.

`recurrence` says what takes the steps: `loop`, autograd over the cell's `step`; `bptt`, the cell's kernel with its
backward pass by hand; `torch`, torch's own function, where it has the cell. `auto` is torch's on a GPU; on a CPU the
one by hand, which was the fastest of the three for every cell, size, type and direction measured (results/README.md);
and what the cell's own `sequence` does where there is neither.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from s2s import devices
from s2s.nn.cells import Cell, State, sequences
from s2s.nn.dropout import Dropout
from s2s.nn.kernels import fused
from s2s.nn.packing import Packing

log = logging.getLogger(__name__)

Recurrence = Literal["auto", "loop", "bptt", "torch"]
Layout = Literal["auto", "packed", "padded"]

DENSE = 0.75  # share of real elements from which on a GPU takes a batch padded


class RecurrentLayer(nn.Module):
    """A cell over time.

    Args:
        cell: what one step does.
        reverse: read each sequence from its last real element to its first; outputs stand at their element's place.

    Attributes:
        recurrence: see the module's text; what the layer cannot do it leaves to `auto`.
        layout: see the module's text; of a layer in a stack, the stack's own is taken.
    """

    def __init__(self, cell: Cell, reverse: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.reverse = reverse
        self.recurrence: Recurrence = "auto"
        self.layout: Layout = "auto"

    def way(self, device: torch.device) -> tuple[Recurrence, str]:
        """What takes the steps on this device, and why; never `auto`."""
        can: dict[Recurrence, bool] = {
            "loop": True,
            "bptt": self.cell.by_hand,
            "torch": self.cell.in_torch,
        }
        if self.recurrence != "auto" and can[self.recurrence]:
            return self.recurrence, "as asked"
        if device.type == "cuda" and can["torch"]:
            return "torch", "cuDNN" if fused.in_cudnn(torch.bfloat16, device) else "cuDNN, in fp32: it has no bf16 here"
        if can["bptt"]:
            faster = "fastest on a CPU" if device.type == "cpu" else "torch has no function for this cell"
            return "bptt", f"backward pass by hand, {faster}"
        return "loop", "the cell has no kernel"  # or a `sequence` of its own, which is then taken

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        state: State | None = None,
        constants: Any = None,
        context: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Runs the layer.

        Args:
            x: (B, T, I), or (B, T, I - C) with a context.
            mask: (B, T), True at real elements, which come first; None when all are real.
            state: where to begin; the cell's initial state when None.
            constants: per-sentence values that a cell such as `AttentionCell` takes as last argument of its step, in
                the order of x; only without a mask.
            context: (B / n, C), which follows x in the input of every step; each row is for n sequences.

        Returns:
            outputs (B, T, output_size), 0 at padding, and the state after each sequence's last element.
        """
        if mask is None and x.size(1) == 1 and state is not None:
            whole, before = _with_context(x, context).squeeze(1), tuple(map(_exact, state))
            new = self.cell.advance(whole, before, *(() if constants is None else (constants,)))
            return new[0].unsqueeze(1), new
        return self.run(x, self.directed(lay_out(x, mask, self.layout)), state, constants, context)

    def directed(self, forward: Packing) -> Packing:
        """The layout of a batch in this layer's direction."""
        return forward.reversed() if self.reverse else forward

    def run(
        self,
        x: Tensor,
        packing: Packing,
        state: State | None = None,
        constants: Any = None,
        context: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """`forward` with a layout that is known."""
        way, _ = self.way(x.device)
        if way == "torch":
            return self._by_torch(x, packing, state, context)
        gx, initial = self._begin(x, packing, state, context)
        run = self.cell.loop if self.recurrence == "loop" else self.cell.sequence
        states = run(gx, packing.first(initial), packing.sizes, *(() if constants is None else (constants,)))
        return packing.unpack(states[0]), packing.final(states, initial)

    @staticmethod
    def both(
        forward: RecurrentLayer, backward: RecurrentLayer, x: Tensor, whole: Packing, states: list[State | None]
    ) -> list[tuple[Tensor, State]]:
        """What two layers over the same input return; their steps are taken together where their cells' kernel can."""
        layers = [(layer, layer.directed(whole)) for layer in (forward, backward)]
        if any(layer.way(x.device)[0] != "bptt" for layer, _ in layers):
            return [layer.run(x, packing, state) for (layer, packing), state in zip(layers, states, strict=True)]
        begun = [layer._begin(x, packing, state) for (layer, packing), state in zip(layers, states, strict=True)]
        first = [whole.first(initial) for _, initial in begun]
        run = sequences([forward.cell, backward.cell], [gx for gx, _ in begun], first, whole.sizes)
        return [
            (packing.unpack(states[0]), packing.final(states, initial))
            for (_, packing), states, (_, initial) in zip(layers, run, begun, strict=True)
        ]

    def trace(
        self,
        x: Tensor,
        mask: Tensor | None,
        state: State | None = None,
        constants: Any = None,
        context: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Every state and gate, through the step loop, gradients reachable.

        Args: as of `forward`.

        Returns:
            (B, T, ·) by name: `state0` (the output h), `state1` …, and the cell's gates; each at its element's place,
            0 at padding.
        """
        packing = self.directed(Packing.of(x, mask))
        gx, initial = self._begin(x, packing, state, context)
        current, extra = packing.first(initial), () if constants is None else (constants,)
        rows: list[dict[str, Tensor]] = []
        for part in gx.to(initial[0].dtype).split_with_sizes(packing.sizes):
            before = tuple(s[: len(part)] for s in current)
            current = self.cell.step(part, before, *extra)
            rows.append({f"state{i}": s for i, s in enumerate(current)} | self.cell.gates(part, before, *extra))
        return {name: packing.unpack(torch.cat([row[name] for row in rows])) for name in rows[0]}

    def _begin(
        self, x: Tensor, packing: Packing, state: State | None, context: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """The input's part (N, ·) of all steps, and the first state (B, H)."""
        projected = self._project(x, packing, context)
        if state is None:
            state = self.cell.initial_state(x.size(0), _exact(projected.new_empty(0)))
        return projected, tuple(map(_exact, state))

    def _by_torch(
        self, x: Tensor, packing: Packing, state: State | None, context: Tensor | None
    ) -> tuple[Tensor, State]:
        if state is None:
            state = self.cell.initial_state(x.size(0), _exact(x.new_empty(0)))
        rows = packing.pack(_with_context(x, context))
        first = packing.first(state)
        outputs, final = fused.run(self.cell.torch_form(), rows, packing.sizes, first, packing.padding)
        if packing.padding is None:
            return packing.unpack(outputs), packing.in_batch_order(final, state)
        (output,) = packing.final((outputs,), state[:1])
        return packing.unpack(outputs), (output, *final[1:])

    def _project(self, x: Tensor, packing: Packing, context: Tensor | None) -> Tensor:
        """The input's part of all steps; the context's share in it is computed once for each of its rows."""
        if context is None or not self.cell.affine_input:
            return self.cell.project(packing.pack(_with_context(x, context)))
        share = self.cell.input_columns(x.size(-1), self.cell.input_size)(context)
        each = share.repeat_interleave(x.size(0) // context.size(0), dim=0)
        return packing.add(self.cell.project_start(packing.pack(x)), each)


def _exact(state: Tensor) -> Tensor:
    """Products may be rounded to 8 bits; a state that is added to at each step of a long sequence must not be."""
    return state.to(torch.promote_types(state.dtype, torch.float32))


def _with_context(x: Tensor, context: Tensor | None) -> Tensor:
    """[x; context] (B, T, I) from x (B, T, I - C) and context (B / n, C)."""
    if context is None:
        return x
    each = context.repeat_interleave(x.size(0) // context.size(0), dim=0)
    return torch.cat([x, each.unsqueeze(1).expand(-1, x.size(1), -1)], dim=-1)


def lay_out(x: Tensor, mask: Tensor | None, layout: Layout, lengths: Sequence[int] | None = None) -> Packing:
    """The layout of x (B, T, ·), as `layout` says; see the text of this module.

    Args:
        mask, lengths: as of `Packing.of`.
    """
    if layout == "auto":
        dense = lengths is None or sum(lengths) >= DENSE * x.size(0) * x.size(1)
        layout = "padded" if devices.on_gpu(x) and dense else "packed"
    even = lengths is not None and min(lengths) == x.size(1)
    if mask is None or even or layout == "packed":
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

        A context, see `RecurrentLayer`, enters the first level, if that has one direction. The lengths are as of
        `Packing.of`.
        """
        finals: list[State] = []
        packing = lay_out(x, mask, self.layout, lengths)
        for number, level in enumerate(self.levels):
            if number > 0:
                x = self.dropout(x)
            layers: list[RecurrentLayer] = list(level)  # type: ignore[call-overload]
            begin = [None if states is None else states[len(finals) + n] for n in range(len(layers))]
            if len(layers) == 2:
                both = RecurrentLayer.both(layers[0], layers[1], x, packing, begin)
            else:
                one = layers[0]
                both = [one.run(x, one.directed(packing), begin[0], context=context if number == 0 else None)]
            finals += [final for _, final in both]
            x = both[0][0] if len(both) == 1 else torch.cat([output for output, _ in both], dim=-1)
        return x, finals

    def trace(
        self, x: Tensor, mask: Tensor | None, states: list[State] | None = None, context: Tensor | None = None
    ) -> list[dict[str, Tensor]]:
        """`RecurrentLayer.trace` of each layer, in the order of the states.

        Args: as of `forward`.
        """
        traces: list[dict[str, Tensor]] = []
        for number, level in enumerate(self.levels):
            if number > 0:
                x = self.dropout(x)
            layers: list[RecurrentLayer] = list(level)  # type: ignore[call-overload]
            begin = [None if states is None else states[len(traces) + n] for n in range(len(layers))]
            entering = context if number == 0 else None
            found = [layer.trace(x, mask, state, context=entering) for layer, state in zip(layers, begin, strict=True)]
            traces += found
            x = torch.cat([one["state0"] for one in found], dim=-1)
        return traces


def set_recurrence(model: nn.Module, recurrence: Recurrence, device: torch.device, layout: Layout = "auto") -> None:
    """Sets both of all layers of a model, and logs once what takes the steps on this device and why."""
    ways: dict[tuple[str, str], list[str]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (RecurrentLayer, RecurrentStack)):
            layer.layout = layout
        if isinstance(layer, RecurrentLayer):
            layer.recurrence = recurrence
            ways.setdefault(layer.way(device), []).append(name.split(".")[0])
    for (way, reason), parts in ways.items():
        log.info("recurrence of %s: %s (%s)", " and ".join(dict.fromkeys(parts)), way, reason)


def check_recurrence(model: nn.Module, recurrence: Recurrence) -> list[str]:
    """The error, if no layer of the model can do what is asked."""
    layers = [layer for layer in model.modules() if isinstance(layer, RecurrentLayer)]
    if recurrence == "auto" or recurrence not in get_args(Recurrence) or not layers:
        return []
    for layer in layers:
        layer.recurrence = recurrence
        if layer.way(torch.device("cpu"))[0] == recurrence:
            return []
    known = ", ".join(get_args(Recurrence))
    return [f"recurrence={recurrence}: no cell of this model has it; it is one of {known}, and auto always works"]

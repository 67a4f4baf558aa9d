"""Time, padding and direction: the only place that knows them.

`RecurrentLayer` runs a cell over a batch of sequences of unequal lengths. Sequences are padded at their end; padding
changes no output and no final state, whatever it contains. A reversed layer reads each sequence from its own end.

How: each sequence is laid so that its first-read element comes first (a reversed layer flips each within its length),
the input's part of all steps is one matrix product, the steps run over the whole batch, and a sequence's final state is
looked up at its own last step. What a step computes beyond a sequence's end is never read.

`recurrence` says what takes the steps: `loop`, autograd over the cell's `step`; `bptt`, the cell's kernel with its
backward pass by hand; `torch`, torch's own function, where it has the cell; `auto`, torch's on a GPU, elsewhere the one
by hand, and what the cell's own `sequence` does where there is neither.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from s2s.nn.cells import Cell, State, sequences
from s2s.nn.dropout import Dropout
from s2s.nn.kernels import fused

log = logging.getLogger(__name__)

Recurrence = Literal["auto", "loop", "bptt", "torch"]


class RecurrentLayer(nn.Module):
    """A cell over time.

    Args:
        cell: what one step does.
        reverse: read each sequence from its last real element to its first; outputs stand at their element's place.

    Attributes:
        recurrence: see the module's text; what the layer cannot do it leaves to `auto`.
    """

    def __init__(self, cell: Cell, reverse: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.reverse = reverse
        self.recurrence: Recurrence = "auto"

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
            return "torch", "cuDNN has this cell"
        if can["bptt"]:
            return "bptt", "its backward pass is derived by hand"
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
            constants: per-sentence values that a cell such as `AttentionCell` takes as third argument of its step.
            context: (B / n, C), which follows x in the input of every step; each row is for n sequences.

        Returns:
            outputs (B, T, output_size), 0 at padding, and the state after each sequence's last element.
        """
        way, _ = self.way(x.device)
        if way == "torch":
            return self._by_torch(x, mask, state, context)
        gx, order, initial = self._begin(x, mask, state, context)
        run = self.cell.loop if self.recurrence == "loop" else self.cell.sequence
        states = run(gx, initial, *(() if constants is None else (constants,)))
        return self._end(states, order, initial, mask)

    @staticmethod
    def both(
        forward: RecurrentLayer, backward: RecurrentLayer, x: Tensor, mask: Tensor | None, states: list[State | None]
    ) -> list[tuple[Tensor, State]]:
        """What two layers over the same input return; their steps are taken together where their cells' kernel can."""
        layers = (forward, backward)
        if any(layer.way(x.device)[0] != "bptt" for layer in layers):
            return [layer(x, mask, state) for layer, state in zip(layers, states, strict=True)]
        begun = [layer._begin(x, mask, state) for layer, state in zip(layers, states, strict=True)]
        run = sequences([layer.cell for layer in layers], [gx for gx, _, _ in begun], [s for _, _, s in begun])
        return [
            layer._end(states, order, initial, mask)
            for layer, states, (_, order, initial) in zip(layers, run, begun, strict=True)
        ]

    def _end(self, states: State, order: Tensor | None, initial: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """Outputs in their elements' places, and final states."""
        outputs = states[0].transpose(0, 1)
        if order is not None:
            outputs = _take(outputs, order)
        if mask is None:
            return outputs, tuple(s[-1] for s in states)
        return outputs.masked_fill(~mask.unsqueeze(-1), 0.0), self._final(states, mask, initial)

    def trace(
        self, x: Tensor, mask: Tensor | None, state: State | None = None, constants: Any = None
    ) -> dict[str, Tensor]:
        """Every state and gate, through the step loop, gradients reachable.

        Returns:
            (B, T, ·) by name: `state0` (the output h), `state1` …, and the cell's gates; each at its element's place,
            values at padding mean nothing.
        """
        steps, order, current = self._begin(x, mask, state)
        extra = () if constants is None else (constants,)
        rows: list[dict[str, Tensor]] = []
        for gx in steps.to(current[0].dtype).unbind(0):
            gates = self.cell.gates(gx, current, *extra)
            current = self.cell.step(gx, current, *extra)
            rows.append({**{f"state{i}": s for i, s in enumerate(current)}, **gates})
        traced = {name: torch.stack([row[name] for row in rows], dim=1) for name in rows[0]}
        return traced if order is None else {name: _take(values, order) for name, values in traced.items()}

    def _begin(
        self, x: Tensor, mask: Tensor | None, state: State | None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, State]:
        """The input's part (T, B, ·), the order that flips each sequence (or None), and the first state."""
        x, order = self._ordered(x, mask)
        projected = self._project(x.transpose(0, 1).contiguous(), context)  # time-major: a step's slice is contiguous
        # Products may be rounded to 8 bits; a state that is added to at each step of a long sequence must not be.
        exact = torch.promote_types(projected.dtype, torch.float32)
        if state is None:
            state = self.cell.initial_state(x.size(0), projected.new_empty(0, dtype=exact))
        return projected, order, tuple(s.to(exact) for s in state)

    def _ordered(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, T, I) with the element that is read first in front, and the order that did it (None for as it was)."""
        order = None
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)  # so that not even NaN in padding reaches a gradient
            if self.reverse:
                position = torch.arange(mask.size(1), device=mask.device)
                lengths = mask.sum(dim=1, keepdim=True)
                order = torch.where(mask, lengths - 1 - position, position)
                x = _take(x, order)
        elif self.reverse:
            order = torch.arange(x.size(1) - 1, -1, -1, device=x.device).expand(x.shape[:2])
            x = _take(x, order)
        return x, order

    def _by_torch(
        self, x: Tensor, mask: Tensor | None, state: State | None, context: Tensor | None
    ) -> tuple[Tensor, State]:
        x, order = self._ordered(x, mask)
        if context is not None:
            rows = context.repeat_interleave(x.size(0) // context.size(0), dim=0)
            x = torch.cat([x, rows.unsqueeze(1).expand(-1, x.size(1), -1)], dim=-1)
        if state is None:
            exact = torch.promote_types(x.dtype, torch.float32)
            state = self.cell.initial_state(x.size(0), x.new_empty(0, dtype=exact))
        outputs, final = fused.run(self.cell.torch_form(), x, mask, state)
        return outputs if order is None else _take(outputs, order), final

    def _project(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The input's part of all steps; the context's share in it is computed once for each of its rows."""
        if context is None:
            return self.cell.project(x)
        if not self.cell.affine_input:
            rows = context.repeat_interleave(x.size(1) // context.size(0), dim=0).expand(x.size(0), -1, -1)
            return self.cell.project(torch.cat([x, rows], dim=-1))
        share = self.cell.input_columns(x.size(-1), self.cell.input_size)(context)
        return self.cell.project_start(x) + share.repeat_interleave(x.size(1) // context.size(0), dim=0)

    @staticmethod
    def _final(states: State, mask: Tensor, initial: State) -> State:
        lengths = mask.sum(dim=1)
        index = (lengths - 1).clamp(min=0)
        rows = torch.arange(mask.size(0), device=mask.device)
        return tuple(
            torch.where(lengths.unsqueeze(1) > 0, after[index, rows], before)
            for after, before in zip(states, initial, strict=True)
        )


def _take(values: Tensor, order: Tensor) -> Tensor:
    """values[b, order[b, t]]: (B, T, D), (B, T) -> (B, T, D)."""
    return values.gather(1, order.unsqueeze(-1).expand(-1, -1, values.size(-1)))


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

    def forward(
        self, x: Tensor, mask: Tensor | None, states: list[State] | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, list[State]]:
        """(B, T, I) -> outputs (B, T, ·) and the final state of each layer, bottom up, forward before reversed.

        A context, see `RecurrentLayer`, enters the first level, if that has one direction.
        """
        finals: list[State] = []
        for number, level in enumerate(self.levels):
            if number > 0:
                x = self.dropout(x)
            layers: list[RecurrentLayer] = list(level)  # type: ignore[call-overload]
            begin = [None if states is None else states[len(finals) + n] for n in range(len(layers))]
            if len(layers) == 2:
                both = RecurrentLayer.both(layers[0], layers[1], x, mask, begin)
            else:
                both = [layers[0](x, mask, begin[0], context=context if number == 0 else None)]
            finals += [final for _, final in both]
            x = both[0][0] if len(both) == 1 else torch.cat([output for output, _ in both], dim=-1)
        return x, finals


def set_recurrence(model: nn.Module, recurrence: Recurrence, device: torch.device) -> None:
    """Sets `recurrence` of all layers of a model, and logs once what each takes on this device and why."""
    ways: dict[tuple[str, str], list[str]] = {}
    for name, layer in model.named_modules():
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

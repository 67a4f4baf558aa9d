"""Time, padding and direction: the only place that knows them.

`RecurrentLayer` runs a cell over a batch of sequences of unequal lengths. Sequences are padded at their end; padding
changes no output and no final state, whatever it contains. A reversed layer reads each sequence from its own end.

How: each sequence is laid so that its first-read element comes first (a reversed layer flips each within its length),
the input's part of all steps is one matrix product, the steps run over the whole batch, and a sequence's final state is
looked up at its own last step. What a step computes beyond a sequence's end is never read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s2s.nn.cells import Cell, State, sequences
from s2s.nn.dropout import Dropout


class RecurrentLayer(nn.Module):
    """A cell over time.

    Args:
        cell: what one step does.
        reverse: read each sequence from its last real element to its first; outputs stand at their element's place.
    """

    def __init__(self, cell: Cell, reverse: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.reverse = reverse

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
        gx, order, initial = self._begin(x, mask, state, context)
        states = self.cell.sequence(gx, initial, *(() if constants is None else (constants,)))
        return self._end(states, order, initial, mask)

    @staticmethod
    def both(
        forward: RecurrentLayer, backward: RecurrentLayer, x: Tensor, mask: Tensor | None, states: list[State | None]
    ) -> list[tuple[Tensor, State]]:
        """What two layers over the same input return; their steps are taken together where their cells' kernel can."""
        layers = (forward, backward)
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
        projected = self._project(x.transpose(0, 1).contiguous(), context)  # time-major: a step's slice is contiguous
        # Products may be rounded to 8 bits; a state that is added to at each step of a long sequence must not be.
        exact = torch.promote_types(projected.dtype, torch.float32)
        if state is None:
            state = self.cell.initial_state(x.size(0), projected.new_empty(0, dtype=exact))
        return projected, order, tuple(s.to(exact) for s in state)

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

"""Recurrent cells that are linear in their state: c_t = a_t ⊙ c_{t-1} + b_t, with a_t and b_t functions of x_t alone.

Nothing but this recurrence is sequential, so all matrix multiplications and gates of a sequence run at once, and the
recurrence itself can be computed in a number of operations logarithmic in its length (`s2s.nn.kernels.linear`). The
price: gates do not see the state. See `s2s.nn.cells` for the interface and the letters.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.backends import Backend
from s2s.nn.cells import Cell, draw_weight
from s2s.nn.kernels.linear import LinearRecurrence
from s2s.nn.kernels.stepping import State


class _LinearBackend(Backend):
    """The shared kernel, as a loop or as a scan."""

    def has_kernel(self, cell: Cell) -> bool:
        return True

    def has_scan(self, cell: Cell) -> bool:
        return True

    def scan(self, cell: Cell, gx: Tensor, state: State, batch_sizes: list[int]) -> State:
        return self.sequence(cell, gx, state, batch_sizes, scan=True)

    def sequence(
        self, cell: Cell, gx: Tensor, state: State, batch_sizes: list[int], *memory: Any, scan: bool = False
    ) -> State:
        linear = cast(LinearCell, cell)
        if not batch_sizes:
            return tuple(s[:0] for s in state)
        a, b = linear.coefficients(gx.to(state[-1].dtype))
        return linear.state_of(LinearRecurrence.apply(a, b, state[-1], batch_sizes, scan))  # type: ignore[no-untyped-call]

    def input_weight(self, cell: Cell, start: int, stop: int) -> Tensor | None:
        return cast(LinearCell, cell).weight_ih[:, start:stop]


class LinearCell(Cell):
    """Base class of these cells; the last state is c, and the output h is c itself or a function of it.

    A subclass has `activations` and `coefficients`, and `output` with `num_states = 2` if h is not c. `weight_ih`
    (G·H, I) and `bias` stack the gates; the last ones may have no bias.

    Args:
        gates: G.
        biases: initial bias of each gate that has one.
    """

    backend = _LinearBackend()

    def __init__(self, input_size: int, hidden_size: int, gates: int, biases: Collection[float]) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = draw_weight(gates, hidden_size, input_size)
        self.bias = nn.Parameter(torch.tensor(list(biases)).repeat_interleave(hidden_size))

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_ih, F.pad(self.bias, (0, len(self.weight_ih) - len(self.bias))))

    def activations(self, gx: Tensor) -> dict[str, Tensor]:
        """The gates, each (…, H), by name, from slices (…, G·H) of `project(x)`."""
        raise NotImplementedError

    def coefficients(self, gx: Tensor) -> tuple[Tensor, Tensor]:
        """a and b, each (…, H)."""
        raise NotImplementedError

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        return self.activations(gx)

    def output(self, c: Tensor) -> Tensor:
        """h (…, H) of c (…, H)."""
        return c

    def state_of(self, c: Tensor) -> State:
        """The state whose last part is c."""
        return (c,) if self.num_states == 1 else (self.output(c), c)

    def step(self, gx: Tensor, state: State) -> State:
        a, b = self.coefficients(gx)
        return self.state_of(a * state[-1] + b)


class SSRU(LinearCell, name="ssru"):
    """Simpler simple recurrent unit (Kim et al. 2019, section 3.1): the SRU without reset gate and highway.

        f_t = σ(W_f x_t + b_f)      forget gate: the share of the cell state to keep
        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ W x_t
        h_t = max(0, c_t)

    `weight_ih` (2H, I) stacks f, W; state (h, c). `forget_bias` is the initial b_f; the paper has no other bias.
    """

    num_states = 2
    reads_output = False

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 3.0) -> None:
        super().__init__(input_size, hidden_size, 2, [forget_bias])

    def activations(self, gx: Tensor) -> dict[str, Tensor]:
        f, candidate = gx.chunk(2, dim=-1)
        return {"forget": torch.sigmoid(f), "candidate": candidate}

    def coefficients(self, gx: Tensor) -> tuple[Tensor, Tensor]:
        f, candidate = self.activations(gx).values()
        return f, candidate - f * candidate

    def output(self, c: Tensor) -> Tensor:
        return torch.relu(c)


class MinGRU(LinearCell, name="mingru"):
    """minGRU (Feng et al. 2024, section 3.1): a GRU without reset gate, whose update gate does not see the state.

        z_t = σ(W_z x_t + b_z)      update gate: the share of the candidate in the new state
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ (W_h x_t + b_h)

    Stacked z, h̃. `update_bias` is the initial b_z; below 0 a new network remembers.
    """

    def __init__(self, input_size: int, hidden_size: int, update_bias: float = -3.0) -> None:
        super().__init__(input_size, hidden_size, 2, [update_bias, 0.0])

    def activations(self, gx: Tensor) -> dict[str, Tensor]:
        z, candidate = gx.chunk(2, dim=-1)
        return {"update": torch.sigmoid(z), "candidate": candidate}

    def coefficients(self, gx: Tensor) -> tuple[Tensor, Tensor]:
        z, candidate = self.activations(gx).values()
        return 1 - z, z * candidate


class MinLSTM(LinearCell, name="minlstm"):
    """minLSTM (Feng et al. 2024, section 3.2): forget and input gate without the state, scaled to a sum of 1.

        f_t = σ(W_f x_t + b_f),  i_t = σ(W_i x_t + b_i),  f'_t = f_t / (f_t + i_t),  i'_t = i_t / (f_t + i_t)
        h_t = f'_t ⊙ h_{t-1} + i'_t ⊙ (W_h x_t + b_h)

    Stacked f, i, h̃. `forget_bias` and `input_bias` are the initial b_f and b_i.
    """

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 3.0, input_bias: float = -3.0) -> None:
        super().__init__(input_size, hidden_size, 3, [forget_bias, input_bias, 0.0])

    def activations(self, gx: Tensor) -> dict[str, Tensor]:
        f, i, candidate = gx.chunk(3, dim=-1)
        return {"forget": torch.sigmoid(f), "input": torch.sigmoid(i), "candidate": candidate}

    def coefficients(self, gx: Tensor) -> tuple[Tensor, Tensor]:
        f, i, candidate = self.activations(gx).values()
        share = f / (f + i)
        return share, candidate - share * candidate

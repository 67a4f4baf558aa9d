"""Recurrent cells: one class holds one cell, its equations and nothing else.

A recurrent network reads a sequence one step at a time and keeps what it has seen in a *state*. A cell is one such
step. What surrounds it (time, padding, direction, stacking, batches of unequal lengths) belongs to
`s2s.nn.recurrent.RecurrentLayer`, so that a new cell is a class of about 25 lines:

    class LSTM(Cell, name="lstm"):      # registers it: model.cell=lstm
        num_states = 2                  # h and c
        def __init__(self, input_size, hidden_size, ...): ...
        def project(self, x): ...       # the input's part, for all time steps at once
        def step(self, gx, state): ...  # one step: the input's part and the old state give the new state

Letters: B batch, T time, I input, H hidden, G number of gates. ⊙ is the element-wise product, σ the logistic function.
`weight_ih` (G·H, I) and `weight_hh` (G·H, H) stack the gates in the order in which each class names them.

**Initialisation** is the same for all cells, so that comparing cells compares cells. Every gate's recurrent matrix is
a random orthogonal one (Saxe et al. 2014), which neither shrinks nor blows up what it carries over many steps. Every
other matrix is drawn gate by gate from Glorot's uniform distribution (Glorot & Bengio 2010), and the recurrent ones
too with `recurrent_init="glorot"`. Gates that keep the past begin at σ(3) = 0.95 (`forget_bias`, `update_bias`), a
memory of some twenty steps, as long as a sentence; other biases at 0.
"""

from __future__ import annotations

import importlib
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.errors import S2SError
from s2s.nn import backends
from s2s.nn.backends import Backend
from s2s.nn.kernels.stepping import State, tanh
from s2s.schema import nearest

CELLS: dict[str, type[Cell]] = {}

RecurrentInit = Literal["glorot", "orthogonal"]


class Cell(nn.Module):
    """One step of a recurrent network. The text of this module shows what a subclass defines.

    Attributes:
        num_states: number of state tensors, the output h first.
        affine_input: whether `project` is an affine map of its input. Then the parts of a concatenated input can be
            projected one by one: a decoder projects all embeddings at once and adds the context vector at each step.
        reads_output: whether `step` reads state[0]; if not, a decoder learns no first output for it.
        output_size: width of state[0].
        backend: faster backends for whole sequences; the base class runs `step` in a loop.
    """

    num_states: int = 1
    affine_input: bool = True
    reads_output: bool = True
    backend: Backend = backends.LOOP

    def __init_subclass__(cls, name: str | None = None) -> None:
        super().__init_subclass__()
        if "step" in vars(cls) and "backend" not in vars(cls):
            cls.backend = backends.LOOP  # a subclass with a step of its own is another cell
        if name is not None:
            CELLS[name] = cls

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def project(self, x: Tensor) -> Tensor:
        """The input projection (…, I) -> (…, ·): all that a step reads of the input, for all time steps in one call."""
        raise NotImplementedError

    def step(self, gx: Tensor, state: State) -> State:
        """The new state, from the step's slice (B, ·) of `project` and the old state."""
        raise NotImplementedError

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Zeros (B, H) with the device and dtype of `like`."""
        return tuple(like.new_zeros(batch, self.hidden_size) for _ in range(self.num_states))

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        """Named activations (B, H) of the step from `state`, for inspection; none for a cell without gates."""
        return {}


def _draw(gates: int, hidden: int, inputs: int, init: RecurrentInit = "glorot") -> nn.Parameter:
    """(gates · hidden, inputs), each gate's block drawn by itself."""
    weight = torch.empty(gates * hidden, inputs)
    if not weight.is_meta:  # a model of which only the shapes are needed: no QR of those
        for block in weight.chunk(gates):
            (nn.init.orthogonal_ if init == "orthogonal" else nn.init.xavier_uniform_)(block)
    return nn.Parameter(weight)


class _LinearInputCell(Cell):
    """Base of cells whose input projection is `weight_ih x + bias`."""

    weight_ih: nn.Parameter  # (G·H, I)
    weight_hh: nn.Parameter  # (G·H, H)
    bias: nn.Parameter  # (G·H)

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_ih, self.bias)


class RNN(_LinearInputCell, name="rnn"):
    """The plain recurrent network (Elman 1990).

        h_t = tanh(U x_t + W h_{t-1} + b)

    U = weight_ih, W = weight_hh, b = bias. The readout o_t = V h_t + c is the model's output layer.
    """

    backend = backends.RNN_BACKEND

    def __init__(self, input_size: int, hidden_size: int, recurrent_init: RecurrentInit = "orthogonal") -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = _draw(1, hidden_size, input_size)
        self.weight_hh = _draw(1, hidden_size, hidden_size, recurrent_init)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def step(self, gx: Tensor, state: State) -> State:
        (h,) = state
        return (tanh(gx + F.linear(h, self.weight_hh)),)


class LSTM(_LinearInputCell, name="lstm"):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

        f_t = σ(W_f [h_{t-1}, x_t] + b_f)      what to keep of the memory
        i_t = σ(W_i [h_{t-1}, x_t] + b_i)      what to write
        o_t = σ(W_o [h_{t-1}, x_t] + b_o)      what to show
        c̃_t = tanh(W_c [h_{t-1}, x_t] + b_c)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t
        h_t = o_t ⊙ tanh(c_t)

    Gates stacked f, i, o, c̃; state (h, c). `forget_bias` and `output_bias` are the initial b_f and b_o
    (Jozefowicz et al. 2015 recommend b_f of at least 1). `open_gate` fixes one gate at 1 and takes its parameters away
    (the ablations of Jozefowicz et al. 2015 and Greff et al. 2017).
    """

    num_states = 2
    backend = backends.LSTM_BACKEND

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 3.0,
        output_bias: float = 0.0,
        recurrent_init: RecurrentInit = "orthogonal",
        open_gate: Literal["forget", "input", "output"] | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        initial = {"forget": forget_bias, "input": 0.0, "output": output_bias, "candidate": 0.0}
        self.open = None if open_gate is None else list(initial).index(open_gate)
        initial.pop(open_gate, None)  # type: ignore[arg-type]
        self.weight_ih = _draw(len(initial), hidden_size, input_size)
        self.weight_hh = _draw(len(initial), hidden_size, hidden_size, recurrent_init)
        self.bias = nn.Parameter(torch.tensor(list(initial.values())).repeat_interleave(hidden_size))

    def of_all_gates(self, parameter: Tensor, filling: float = 0.0) -> Tensor:
        """The parameter of all four gates: the one that is fixed has `filling`."""
        if self.open is None:
            return parameter
        blocks = list(parameter.chunk(3))
        blocks.insert(self.open, torch.full_like(blocks[0], filling))
        return torch.cat(blocks)

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.of_all_gates(self.weight_ih), self.of_all_gates(self.bias, torch.inf))  # σ(∞) = 1

    def _activations(self, gx: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pre = gx + F.linear(h, self.of_all_gates(self.weight_hh))
        f, i, o = torch.sigmoid(pre[:, : 3 * self.hidden_size]).chunk(3, dim=1)
        return f, i, o, tanh(pre[:, 3 * self.hidden_size :])

    def step(self, gx: Tensor, state: State) -> State:
        h, c = state
        f, i, o, candidate = self._activations(gx, h)
        c = f * c + i * candidate
        return o * tanh(c), c

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        f, i, o, candidate = self._activations(gx, state[0])
        return {"forget": f, "input": i, "output": o, "candidate": candidate}


class GRU(_LinearInputCell, name="gru"):
    """Gated recurrent unit (Cho et al. 2014).

        z_t = σ(W_z [h_{t-1}, x_t] + b_z)      how much to renew
        r_t = σ(W_r [h_{t-1}, x_t] + b_r)      how much of the past the candidate sees
        h̃_t = tanh(W_h [r_t ⊙ h_{t-1}, x_t] + b_h)
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h̃_t

    Gates stacked z, r, h̃. With `reset="after"` the reset gate acts on the product, as in cuDNN and torch, with a bias
    of its own inside: h̃_t = tanh(W_hx x_t + b_h + r_t ⊙ (W_hh h_{t-1} + b_hn)). (torch's z is 1 - z here.)

    `update_bias` is the initial b_z; below 0 a new network remembers, as an LSTM does whose b_f is above.
    """

    backend = backends.GRU_BACKEND

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset: Literal["before", "after"] = "before",
        update_bias: float = -3.0,
        recurrent_init: RecurrentInit = "orthogonal",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.reset = reset
        self.weight_ih = _draw(3, hidden_size, input_size)
        self.weight_hh = _draw(3, hidden_size, hidden_size, recurrent_init)
        self.bias = nn.Parameter(torch.tensor([update_bias, 0.0, 0.0]).repeat_interleave(hidden_size))
        if reset == "after":
            self.bias_hn = nn.Parameter(torch.zeros(hidden_size))

    def _activations(self, gx: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        split = 2 * self.hidden_size
        if self.reset == "after":
            gh = F.linear(h, self.weight_hh)
            z, r = torch.sigmoid(gx[:, :split] + gh[:, :split]).chunk(2, dim=1)
            return z, r, tanh(gx[:, split:] + r * (gh[:, split:] + self.bias_hn))
        z, r = torch.sigmoid(gx[:, :split] + F.linear(h, self.weight_hh[:split])).chunk(2, dim=1)
        return z, r, tanh(gx[:, split:] + F.linear(r * h, self.weight_hh[split:]))

    def step(self, gx: Tensor, state: State) -> State:
        (h,) = state
        z, _, candidate = self._activations(gx, h)
        return (h + z * (candidate - h),)

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        z, r, candidate = self._activations(gx, state[0])
        return {"update": z, "reset": r, "candidate": candidate}


class MGU(_LinearInputCell, name="mgu"):
    """Minimal gated unit (Zhou et al. 2016): the GRU's two gates in one.

        f_t = σ(W_f [h_{t-1}, x_t] + b_f)      how much to renew, and how much of the past the candidate sees
        h̃_t = tanh(W_h [f_t ⊙ h_{t-1}, x_t] + b_h)
        h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ h̃_t

    Stacked f, h̃. `forget_bias` is the initial b_f; below 0 a new network remembers.
    """

    backend = backends.MGU_BACKEND

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = -3.0,
        recurrent_init: RecurrentInit = "orthogonal",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = _draw(2, hidden_size, input_size)
        self.weight_hh = _draw(2, hidden_size, hidden_size, recurrent_init)
        self.bias = nn.Parameter(torch.tensor([forget_bias, 0.0]).repeat_interleave(hidden_size))

    def _activations(self, gx: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = torch.sigmoid(gx[:, : self.hidden_size] + F.linear(h, self.weight_hh[: self.hidden_size]))
        return f, tanh(gx[:, self.hidden_size :] + F.linear(f * h, self.weight_hh[self.hidden_size :]))

    def step(self, gx: Tensor, state: State) -> State:
        (h,) = state
        f, candidate = self._activations(gx, h)
        return (h + f * (candidate - h),)

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        f, candidate = self._activations(gx, state[0])
        return {"forget": f, "candidate": candidate}


class SRU(Cell, name="sru"):
    """Simple recurrent unit (Lei et al. 2018): every matrix product is on the input, so a step is element-wise.

        x̃_t = W x_t
        f_t = σ(W_f x_t + v_f ⊙ c_{t-1} + b_f)      what to keep of the memory
        r_t = σ(W_r x_t + v_r ⊙ c_{t-1} + b_r)      how much of the output is the memory, the rest is the input
        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ x̃_t
        h_t = r_t ⊙ c_t + (1 - r_t) ⊙ x_t

    `weight_ih` (3H, I) stacks x̃, f, r; `weight_c` (2H) is v_f, v_r and `bias` (2H) b_f, b_r; state (h, c). Where
    I ≠ H, x_t in the last line goes through `weight_skip` (H, I). `forget_bias` is the initial b_f.
    """

    num_states = 2
    reads_output = False
    backend = backends.SRU_BACKEND

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 3.0) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = _draw(3, hidden_size, input_size)
        self.weight_skip = None if input_size == hidden_size else _draw(1, hidden_size, input_size)
        self.weight_c = nn.Parameter(torch.zeros(2 * hidden_size))
        self.bias = nn.Parameter(torch.tensor([forget_bias, 0.0]).repeat_interleave(hidden_size))

    def project(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, 4H): x̃, f and r before v ⊙ c, and the last line's x_t."""
        bias = F.pad(self.bias, (self.hidden_size, 0))
        projected = F.linear(x, self.weight_ih, bias)
        skip = x.to(projected.dtype) if self.weight_skip is None else F.linear(x, self.weight_skip)
        return torch.cat([projected, skip], dim=-1)

    def _activations(self, gx: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        candidate, of_f, of_r, skip = gx.chunk(4, dim=1)
        v_f, v_r = self.weight_c.chunk(2)
        return candidate, torch.sigmoid(of_f + v_f * c), torch.sigmoid(of_r + v_r * c), skip

    def step(self, gx: Tensor, state: State) -> State:
        candidate, f, r, skip = self._activations(gx, state[1])
        c = candidate + f * (state[1] - candidate)
        return skip + r * (c - skip), c

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        candidate, f, r, _ = self._activations(gx, state[1])
        return {"forget": f, "reset": r, "candidate": candidate}


def cell_class(name: str) -> type[Cell]:
    """The cell registered under `name`, or the class that `module.Class` names.

    Raises:
        S2SError: there is none; the message lists the known ones, nearest first.
    """
    if name in CELLS:
        return CELLS[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        raise S2SError(f"unknown cell {name!r}; known, nearest first: {nearest(name, list(CELLS))}")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise S2SError(
            f"cell {name}: cannot import {module} ({error}); it must be in the folder you start from"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise S2SError(f"cell {name}: {module} has no class {attribute} that derives from s2s.nn.cells.Cell")
    return found

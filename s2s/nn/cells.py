"""Recurrent cells: each class is one cell, its equations and nothing else.

A recurrent network reads a sequence step by step and summarises what it has read in a *state*. A cell is one such step.
Time, padding, direction, stacking and batches of unequal lengths belong to `s2s.nn.recurrent.RecurrentLayer`, so a new
cell is a class of about 25 lines:

    class LSTM(Cell, name="lstm"):      # registers it: model.cell=lstm
        num_states = 2                  # h and c
        def __init__(self, input_size, hidden_size, ...): ...
        def project(self, x): ...       # the input projection, for all time steps at once
        def step(self, gx, state): ...  # one step: input projection and old state -> new state

Letters: B batch, T time, I input, H hidden, G number of gates. ⊙ is the element-wise product, σ the logistic function.
`weight_ih` (G·H, I) and `weight_hh` (G·H, H) stack the gates in the order that each class gives.

**Initialisation** is the same for all cells, so that only the cells differ in a comparison. Every gate's recurrent
matrix is a random orthogonal one (Saxe et al. 2014), which keeps the norm of the state over many steps. Every other
matrix is drawn gate by gate from Glorot's uniform distribution (Glorot & Bengio 2010), the recurrent ones too with
`recurrent_init="glorot"`. A new network keeps σ(3) = 0.95 of the old state in a step: gates that keep start with a bias
of +3 (`forget_bias` of LSTM and SRU), gates that renew with -3 (`update_bias` of the GRU, `forget_bias` of the MGU).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn import backends
from s2s.nn.backends import Backend
from s2s.nn.kernels.stepping import State, tanh
from s2s.registry import Registry

RecurrentInit = Literal["glorot", "orthogonal"]


class Cell(nn.Module):
    """One step of a recurrent network; the docstring of this module lists the methods of a subclass.

    Attributes:
        num_states: number of state tensors, the output h first.
        affine_input: whether `project` is an affine map. If so, the parts of a concatenated input can be projected one
            by one: a decoder projects all embeddings at once and adds the context vector's projection at each step.
        reads_output: whether `step` reads state[0]; if not, a decoder has no parameters for the initial one.
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
            cls.backend = backends.LOOP  # another step needs another kernel
        if name is not None:
            CELLS.register(name, cls)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def project(self, x: Tensor) -> Tensor:
        """The input projection (…, I) -> (…, ·) of all time steps; a step reads nothing else of the input."""
        raise NotImplementedError

    def step(self, gx: Tensor, state: State) -> State:
        """The new state, from gx (B, ·), the step's slice of `project(x)`, and the old state."""
        raise NotImplementedError

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Zeros (B, H) with the device and dtype of `like`."""
        return tuple(like.new_zeros(batch, self.hidden_size) for _ in range(self.num_states))

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        """Gate activations (B, H) by name in the step from `state`, for inspection; empty for a cell without gates."""
        return {}


CELLS = Registry("cell", Cell)


def draw_weight(gates: int, hidden: int, inputs: int, init: RecurrentInit = "glorot") -> nn.Parameter:
    """An initial weight (gates · hidden, inputs), each gate's block drawn separately."""
    weight = torch.empty(gates * hidden, inputs)
    if not weight.is_meta:  # `shapes_only`: no QR decomposition
        for block in weight.chunk(gates):
            (nn.init.orthogonal_ if init == "orthogonal" else nn.init.xavier_uniform_)(block)
    return nn.Parameter(weight)


class _BuiltInCell(Cell):
    """Base of cells with input projection `weight_ih x + bias` and recurrent matrix `weight_hh`.

    Args:
        biases: initial bias of each gate.

    Attributes:
        gate_names: names of the activations.
    """

    gate_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, input_size: int, hidden_size: int, biases: Collection[float], recurrent_init: RecurrentInit
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = draw_weight(len(biases), hidden_size, input_size)
        self.weight_hh = draw_weight(len(biases), hidden_size, hidden_size, recurrent_init)
        self.bias = nn.Parameter(torch.tensor(list(biases)).repeat_interleave(hidden_size))

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_ih, self.bias)

    def _activations(self, gx: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        return ()

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        return dict(zip(self.gate_names, self._activations(gx, state[0]), strict=True))


class RNN(_BuiltInCell, name="rnn"):
    """The plain recurrent network (Elman 1990).

        h_t = tanh(U x_t + W h_{t-1} + b)

    U = weight_ih, W = weight_hh, b = bias. The output o_t = V h_t + c is the model's output layer.
    """

    backend = backends.RNN_BACKEND

    def __init__(self, input_size: int, hidden_size: int, recurrent_init: RecurrentInit = "orthogonal") -> None:
        super().__init__(input_size, hidden_size, [0.0], recurrent_init)

    def step(self, gx: Tensor, state: State) -> State:
        (h,) = state
        return (tanh(gx + F.linear(h, self.weight_hh)),)


class LSTM(_BuiltInCell, name="lstm"):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

        f_t = σ(W_f [h_{t-1}, x_t] + b_f)      forget gate: the share of the cell state to keep
        i_t = σ(W_i [h_{t-1}, x_t] + b_i)      input gate: the share of the candidate to write
        o_t = σ(W_o [h_{t-1}, x_t] + b_o)      output gate: the share of the cell state to output
        c̃_t = tanh(W_c [h_{t-1}, x_t] + b_c)   candidate
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t        cell state
        h_t = o_t ⊙ tanh(c_t)

    Gates stacked f, i, o, c̃; state (h, c). `forget_bias` and `output_bias` are the initial b_f and b_o
    (Jozefowicz et al. 2015 recommend b_f of at least 1). `open_gate` removes one gate: its activation is 1 and it has
    no parameters (the ablations NFG, NIG and NOG of Greff et al. 2017; also Jozefowicz et al. 2015).
    """

    num_states = 2
    backend = backends.LSTM_BACKEND
    gate_names = ("forget", "input", "output", "candidate")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 3.0,
        output_bias: float = 0.0,
        recurrent_init: RecurrentInit = "orthogonal",
        open_gate: Literal["forget", "input", "output"] | None = None,
    ) -> None:
        biases = {"forget": forget_bias, "input": 0.0, "output": output_bias, "candidate": 0.0}
        with_parameters = [bias for gate, bias in biases.items() if gate != open_gate]
        super().__init__(input_size, hidden_size, with_parameters, recurrent_init)
        self.removed_gate = None if open_gate is None else list(biases).index(open_gate)

    def with_removed_gate(self, parameter: Tensor, value: float = 0.0) -> Tensor:
        """The parameter with the blocks of all four gates; that of a removed gate is filled with `value`."""
        if self.removed_gate is None:
            return parameter
        blocks = list(parameter.chunk(3))
        blocks.insert(self.removed_gate, torch.full_like(blocks[0], value))
        return torch.cat(blocks)

    def project(self, x: Tensor) -> Tensor:
        bias = self.with_removed_gate(self.bias, torch.inf)  # σ(∞) = 1
        return F.linear(x, self.with_removed_gate(self.weight_ih), bias)

    def _activations(self, gx: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pre = gx + F.linear(h, self.with_removed_gate(self.weight_hh))
        f, i, o = torch.sigmoid(pre[:, : 3 * self.hidden_size]).chunk(3, dim=1)
        return f, i, o, tanh(pre[:, 3 * self.hidden_size :])

    def step(self, gx: Tensor, state: State) -> State:
        h, c = state
        f, i, o, candidate = self._activations(gx, h)
        c = f * c + i * candidate
        return o * tanh(c), c


class GRU(_BuiltInCell, name="gru"):
    """Gated recurrent unit (Cho et al. 2014).

        z_t = σ(W_z [h_{t-1}, x_t] + b_z)      update gate: the share of the candidate in the new state
        r_t = σ(W_r [h_{t-1}, x_t] + b_r)      reset gate: the share of the old state in the candidate
        h̃_t = tanh(W_h [r_t ⊙ h_{t-1}, x_t] + b_h)
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h̃_t

    Gates stacked z, r, h̃. With `reset="after"` the reset gate follows the matrix multiplication, as in cuDNN and torch,
    with a bias of its own inside: h̃_t = tanh(W_hx x_t + b_h + r_t ⊙ (W_hh h_{t-1} + b_hn)). (torch's z is 1 - z here.)

    `update_bias` is the initial b_z; below 0 a new network remembers, like an LSTM with b_f above 0.
    """

    backend = backends.GRU_BACKEND
    gate_names = ("update", "reset", "candidate")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset: Literal["before", "after"] = "before",
        update_bias: float = -3.0,
        recurrent_init: RecurrentInit = "orthogonal",
    ) -> None:
        super().__init__(input_size, hidden_size, [update_bias, 0.0, 0.0], recurrent_init)
        self.reset = reset
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


class MGU(_BuiltInCell, name="mgu"):
    """Minimal gated unit (Zhou et al. 2016): the GRU's two gates in one.

        f_t = σ(W_f [h_{t-1}, x_t] + b_f)      forget gate: update and reset gate in one
        h̃_t = tanh(W_h [f_t ⊙ h_{t-1}, x_t] + b_h)
        h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ h̃_t

    Stacked f, h̃. `forget_bias` is the initial b_f; below 0 a new network remembers.
    """

    backend = backends.MGU_BACKEND
    gate_names = ("forget", "candidate")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = -3.0,
        recurrent_init: RecurrentInit = "orthogonal",
    ) -> None:
        super().__init__(input_size, hidden_size, [forget_bias, 0.0], recurrent_init)

    def _activations(self, gx: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = torch.sigmoid(gx[:, : self.hidden_size] + F.linear(h, self.weight_hh[: self.hidden_size]))
        return f, tanh(gx[:, self.hidden_size :] + F.linear(f * h, self.weight_hh[self.hidden_size :]))

    def step(self, gx: Tensor, state: State) -> State:
        (h,) = state
        f, candidate = self._activations(gx, h)
        return (h + f * (candidate - h),)


class SRU(Cell, name="sru"):
    """Simple recurrent unit (Lei et al. 2018): all matrices multiply the input, so a step is element-wise.

        x̃_t = W x_t
        f_t = σ(W_f x_t + v_f ⊙ c_{t-1} + b_f)      forget gate: the share of the cell state to keep
        r_t = σ(W_r x_t + v_r ⊙ c_{t-1} + b_r)      reset gate: the share of the cell state in the output
        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ x̃_t
        h_t = r_t ⊙ c_t + (1 - r_t) ⊙ x_t

    `weight_ih` (3H, I) stacks x̃, f, r; `weight_c` (2H) is v_f, v_r and `bias` (2H) b_f, b_r; state (h, c). If
    I ≠ H, x_t in the last line is projected by `weight_skip` (H, I). `forget_bias` is the initial b_f.
    """

    num_states = 2
    reads_output = False
    backend = backends.SRU_BACKEND

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 3.0) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = draw_weight(3, hidden_size, input_size)
        self.weight_skip = None if input_size == hidden_size else draw_weight(1, hidden_size, input_size)
        self.weight_c = nn.Parameter(torch.zeros(2 * hidden_size))
        self.bias = nn.Parameter(torch.tensor([forget_bias, 0.0]).repeat_interleave(hidden_size))

    def project(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, 4H): x̃, the pre-activations of f and r without v ⊙ c, and the last line's x_t."""
        bias = F.pad(self.bias, (self.hidden_size, 0))
        projected = F.linear(x, self.weight_ih, bias)
        skip = x.to(projected.dtype) if self.weight_skip is None else F.linear(x, self.weight_skip)
        return torch.cat([projected, skip], dim=-1)

    def _activations(self, gx: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        candidate, gx_f, gx_r, skip = gx.chunk(4, dim=1)
        v_f, v_r = self.weight_c.chunk(2)
        return candidate, torch.sigmoid(gx_f + v_f * c), torch.sigmoid(gx_r + v_r * c), skip

    def step(self, gx: Tensor, state: State) -> State:
        candidate, f, r, skip = self._activations(gx, state[1])
        c = candidate + f * (state[1] - candidate)
        return skip + r * (c - skip), c

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        candidate, f, r, _ = self._activations(gx, state[1])
        return {"forget": f, "reset": r, "candidate": candidate}

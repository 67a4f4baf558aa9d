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
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.config import nearest
from s2s.errors import S2SError
from s2s.nn.kernels import bptt
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.kernels.fused import TorchForm
from s2s.nn.kernels.gru import GRUAfterSteps, GRUSteps
from s2s.nn.kernels.lstm import LSTMSteps
from s2s.nn.kernels.mgu import MGUSteps
from s2s.nn.kernels.rnn import RNNSteps
from s2s.nn.kernels.sru import SRUSteps
from s2s.nn.kernels.stepping import StepKernel, tanh

State = tuple[Tensor, ...]  # each (B, H); state[0] is the output h

CELLS: dict[str, type[Cell]] = {}

RecurrentInit = Literal["glorot", "orthogonal"]


class Cell(nn.Module):
    """One step of a recurrent network. See the module's text for what a subclass writes.

    Attributes:
        num_states: number of state tensors, the output h first.
        affine_input: whether `project` is an affine map of its input. Then the parts of a concatenated input can be
            projected apart, which is what lets a decoder project all its embeddings at once and add the attention's
            context at each step.
        reads_output: whether `step` reads state[0]; where not, a decoder learns no first output for it.
        output_size: width of state[0].
        kernel: a faster way through whole sequences with a backward pass by hand, for a cell whose `step` it computes;
            it takes the first state and then `recurrent_parameters`, and the cell has `input_weight`.
    """

    num_states: ClassVar[int] = 1
    affine_input: ClassVar[bool] = True
    reads_output: ClassVar[bool] = True
    kernel: type[StepKernel] | None = None

    def __init_subclass__(cls, name: str | None = None) -> None:
        super().__init_subclass__()
        if {"step", "sequence"} & set(vars(cls)) and "kernel" not in vars(cls):
            cls.kernel = None  # a subclass with a step of its own is another cell
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
        """(…, I) -> (…, ·): all that the step needs of the input. The leading axes are any, so all time is one call."""
        raise NotImplementedError

    def step(self, gx: Tensor, state: State) -> State:
        """(B, ·) slice of `project` and the old state -> the new state."""
        raise NotImplementedError

    def advance(self, x: Tensor, state: State, *constants: Any) -> State:
        """One step from the input (B, I) itself: what search takes, for which a sequence is too much work."""
        return self.step(self.project(x).to(state[0].dtype), state, *constants)

    def sequence(self, gx: Tensor, state: State, sizes: list[int]) -> State:
        """All steps: rows (N, ·) of `project`, packed, and the first state (B_0, ·) -> each state after them, (N, ·).

        Step t has the next sizes[t] rows, which go on from the first sizes[t] rows of the states before it: see
        `s2s.nn.packing`. Under autocast gx may be of its type; states and gates are of the first state's.

        The loop over `step`, or the cell's kernel with the same result.
        """
        if self.kernel is None or not sizes:
            return self.loop(gx, state, sizes)
        return bptt.Sequence.apply(  # type: ignore[no-untyped-call, no-any-return]
            self.kernel, compute_dtype(state[0]), sizes, 1, gx, *state, *self.recurrent_parameters()
        )

    def loop(self, gx: Tensor, state: State, sizes: list[int], *constants: Any) -> State:
        """`sequence` by the loop over `step`, which is given the constants as well."""
        states = [tuple(s[:0] for s in state)]
        for part in gx.to(state[0].dtype).split_with_sizes(sizes):
            state = self.step(part, tuple(s[: len(part)] for s in state), *constants)
            states.append(state)
        return tuple(torch.cat(tensors) for tensors in zip(*states, strict=True))

    def recurrent_parameters(self) -> tuple[Tensor, ...]:
        """What the kernel takes: the recurrent weight (G·H, H), then biases inside of the recurrence."""
        raise NotImplementedError

    @property
    def by_hand(self) -> bool:
        """Whether `sequence` has a backward pass by hand."""
        return self.kernel is not None

    @property
    def in_torch(self) -> bool:
        """Whether torch has a function for this cell; then `torch_form` gives its parameters."""
        return False

    def torch_form(self) -> TorchForm:
        """The cell in the parameters of torch's own recurrent function."""
        raise NotImplementedError

    def input_weight(self, start: int, stop: int) -> Tensor | None:
        """Columns start … stop - 1 of the matrix in `project`, (·, stop - start); None if there is no such matrix."""
        return None

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Zeros (B, H) of `like`'s device and type."""
        return tuple(like.new_zeros(batch, self.hidden_size) for _ in range(self.num_states))

    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        """Named activations (B, H) of the step from `state`, for looking; a cell without gates returns none."""
        return {}

    def project_start(self, x: Tensor) -> Tensor:
        """`project` of an input whose first columns are x (…, n <= I) and whose others are 0, for an affine input."""
        missing = self.input_size - x.size(-1)
        if missing == 0:
            return self.project(x)
        weight = self.input_weight(0, x.size(-1))
        if weight is None:
            return self.project(F.pad(x, (0, missing)))
        return F.linear(x, weight, self.project(x.new_zeros(self.input_size)))

    def input_columns(self, start: int, stop: int) -> Callable[[Tensor], Tensor]:
        """What input columns start … stop - 1 contribute to `project`, bias left out; for cells with an affine input.

        Returns:
            (…, stop - start) -> (…, ·), to be used for all steps of a sequence. Where `input_weight` is not known, the
            affine map f is known only by calling it, so it is f([0; x; 0]) - f(0).
        """
        weight = self.input_weight(start, stop)
        if weight is None:
            padding = (start, self.input_size - stop)
            return lambda x: self.project(F.pad(x, padding)) - self.project(x.new_zeros(self.input_size))
        weight = weight.to(compute_dtype(weight))  # once, where autocast would do it at each step
        return lambda x: F.linear(x, weight)


def sequences(cells: Sequence[Cell], gx: Sequence[Tensor], state: Sequence[State], sizes: list[int]) -> list[State]:
    """`cell.sequence(gx, state, sizes)` of each; cells of one kernel and size step together."""
    kernel = cells[0].kernel
    alike = all(cell.kernel is kernel and cell.hidden_size == cells[0].hidden_size for cell in cells)
    if kernel is None or not alike or not sizes:
        return [cell.sequence(*given, sizes) for cell, given in zip(cells, zip(gx, state, strict=True), strict=True)]
    parameters = zip(*(cell.recurrent_parameters() for cell in cells), strict=True)
    together = bptt.Sequence.apply(  # type: ignore[no-untyped-call]
        *(kernel, compute_dtype(state[0][0]), sizes, len(cells), *gx),
        *(torch.stack(part) for part in [*zip(*state, strict=True), *parameters]),
    )
    return list(zip(*(states.unbind(0) for states in together), strict=True))


def _draw(gates: int, hidden: int, inputs: int, init: RecurrentInit = "glorot") -> nn.Parameter:
    """(gates · hidden, inputs), each gate's block drawn by itself."""
    weight = torch.empty(gates * hidden, inputs)
    if not weight.is_meta:  # a model of which only the shapes are needed: no QR of those
        for block in weight.chunk(gates):
            (nn.init.orthogonal_ if init == "orthogonal" else nn.init.xavier_uniform_)(block)
    return nn.Parameter(weight)


class _LinearInputCell(Cell):
    """Shared by cells whose input's part is `weight_ih x + bias`."""

    weight_ih: nn.Parameter  # (G·H, I)
    weight_hh: nn.Parameter  # (G·H, H)
    bias: nn.Parameter  # (G·H)

    def recurrent_parameters(self) -> tuple[Tensor, ...]:
        return (self.weight_hh,)

    def input_weight(self, start: int, stop: int) -> Tensor | None:
        return self.weight_ih[:, start:stop]

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_ih, self.bias)


class RNN(_LinearInputCell, name="rnn"):
    """The plain recurrent network (Elman 1990).

        h_t = tanh(U x_t + W h_{t-1} + b)

    U = weight_ih, W = weight_hh, b = bias. The readout o_t = V h_t + c is the model's output layer.
    """

    kernel = RNNSteps

    def __init__(self, input_size: int, hidden_size: int, recurrent_init: RecurrentInit = "orthogonal") -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = _draw(1, hidden_size, input_size)
        self.weight_hh = _draw(1, hidden_size, hidden_size, recurrent_init)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def step(self, gx: Tensor, state: State) -> State:
        (h,) = state
        return (tanh(gx + F.linear(h, self.weight_hh)),)

    @property
    def in_torch(self) -> bool:
        return self.by_hand  # not a subclass with a step of its own

    def torch_form(self) -> TorchForm:
        return TorchForm("rnn_tanh", self.weight_ih, self.weight_hh, self.bias, torch.zeros_like(self.bias))


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
    kernel = LSTMSteps

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

    def _stacked(self, parameter: Tensor, filling: float = 0.0) -> Tensor:
        """The parameter of all four gates: the one that is fixed has `filling`."""
        if self.open is None:
            return parameter
        blocks = list(parameter.chunk(3))
        blocks.insert(self.open, torch.full_like(blocks[0], filling))
        return torch.cat(blocks)

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self._stacked(self.weight_ih), self._stacked(self.bias, torch.inf))  # σ(∞) = 1

    def input_weight(self, start: int, stop: int) -> Tensor | None:
        return self._stacked(self.weight_ih[:, start:stop])

    def recurrent_parameters(self) -> tuple[Tensor, ...]:
        return (self._stacked(self.weight_hh),)

    @property
    def in_torch(self) -> bool:
        return self.by_hand and self.open is None

    def torch_form(self) -> TorchForm:
        def ordered(parameter: Tensor) -> Tensor:  # torch has i, f, c̃, o
            f, i, o, candidate = parameter.chunk(4)
            return torch.cat([i, f, candidate, o])

        w, bias = (ordered(self.weight_ih), ordered(self.weight_hh)), ordered(self.bias)
        return TorchForm("lstm", *w, bias, torch.zeros_like(bias))

    def _activations(self, gx: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pre = gx + F.linear(h, self._stacked(self.weight_hh))
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

    kernel: type[StepKernel] | None = GRUSteps

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
            if self.kernel is GRUSteps:  # not a subclass with a step of its own
                self.kernel = GRUAfterSteps

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

    def recurrent_parameters(self) -> tuple[Tensor, ...]:
        return (self.weight_hh, self.bias_hn) if self.reset == "after" else (self.weight_hh,)

    @property
    def in_torch(self) -> bool:
        return self.by_hand and self.reset == "after"

    def torch_form(self) -> TorchForm:
        def ordered(parameter: Tensor) -> Tensor:  # torch has r, 1 - z, h̃, and 1 - σ(a) = σ(-a)
            z, r, candidate = parameter.chunk(3)
            return torch.cat([r, -z, candidate])

        w, inside = (ordered(self.weight_ih), ordered(self.weight_hh)), F.pad(self.bias_hn, (2 * self.hidden_size, 0))
        return TorchForm("gru", *w, ordered(self.bias), inside)

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

    kernel = MGUSteps

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
    kernel = SRUSteps

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

    def input_weight(self, start: int, stop: int) -> Tensor | None:
        skip: Tensor | None = self.weight_skip
        if skip is None:
            skip = torch.eye(self.hidden_size, dtype=self.weight_ih.dtype, device=self.weight_ih.device)
        return torch.cat([self.weight_ih[:, start:stop], skip[:, start:stop]])

    def recurrent_parameters(self) -> tuple[Tensor, ...]:
        return (self.weight_c,)

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

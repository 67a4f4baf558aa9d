"""`s2s.check_cell`: built-in cells pass, and each broken property is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import s2s
from s2s.nn.backends import RNN_BACKEND
from s2s.nn.cells import CELLS, GRU, LSTM, RNN, Cell, State

OPTIONS: list[dict[str, Any]] = [{"open_gate": gate} for gate in ("forget", "input", "output")]
BUILT_IN = [*((cell, {}) for cell in CELLS.values()), (GRU, {"reset": "after"}), *((LSTM, one) for one in OPTIONS)]


@pytest.mark.parametrize(("kind", "options"), BUILT_IN)
def test_built_in_cells_pass(kind: type[Cell], options: dict[str, Any]) -> None:
    before = torch.get_default_dtype(), torch.get_rng_state(), dict(CELLS)
    s2s.check_cell(kind, **options)
    assert before[0] == torch.get_default_dtype()
    assert torch.equal(before[1], torch.get_rng_state())
    assert before[2] == CELLS


class Plain(Cell):
    """A valid cell, base of the broken ones."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size)

    def project(self, x: Tensor) -> Tensor:
        return self.inputs(x)  # type: ignore[no-any-return]

    def step(self, gx: Tensor, state: State) -> State:
        return (torch.tanh(gx + self.recurrent(state[0])),)


class WrongStates(Plain):
    num_states = 2


class OneStepOnly(Plain):
    def project(self, x: Tensor) -> Tensor:
        return self.inputs(x).cumsum(0)  # type: ignore[no-any-return]


class NotAffine(Plain):
    def project(self, x: Tensor) -> Tensor:
        return torch.relu(self.inputs(x))


class RowsMix(Plain):
    def step(self, gx: Tensor, state: State) -> State:
        return (torch.tanh(gx + self.recurrent(state[0] - state[0].mean(0))),)


class InPlace(Plain):
    def step(self, gx: Tensor, state: State) -> State:
        state[0].data.mul_(0.5)
        return super().step(gx, state)


class Remembers(Plain):
    last: Tensor | None = None

    def step(self, gx: Tensor, state: State) -> State:
        last, self.last = self.last, gx.detach()
        return super().step(gx if last is None or last.shape != gx.shape else gx + last, state)


class Detached(Plain):
    def step(self, gx: Tensor, state: State) -> State:
        return super().step(gx, (state[0].detach(),))


class Unused(Plain):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.spare = nn.Parameter(torch.ones(hidden_size))


class WrongGates(Plain):
    def gates(self, gx: Tensor, state: State) -> dict[str, Tensor]:
        return {"mean": gx.mean()}


class OtherKernel(RNN):
    backend = RNN_BACKEND

    def step(self, gx: Tensor, state: State) -> State:
        return (torch.tanh(gx + state[0]),)


class RandomConstant(Plain):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.constant = torch.rand(hidden_size)

    def step(self, gx: Tensor, state: State) -> State:
        return super().step(gx + self.constant, state)


class Raises(Plain):
    def step(self, gx: Tensor, state: State) -> State:
        raise RuntimeError("no such gate\nand more")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (WrongStates, "num_states = 2 requires 2 of"),
        (OneStepOnly, "project differs between all time steps at once"),
        (NotAffine, "affine_input = False"),
        (RowsMix, "rows must not mix"),
        (InPlace, "step changes its arguments"),
        (Remembers, "its memory must be in the state"),
        (Detached, "is something detached"),
        (Unused, "no gradient reaches spare"),
        (WrongGates, "gates returns mean with the shape"),
        (OtherKernel, "differs from the loop over step"),
        (RandomConstant, "every random constant must be in the state_dict"),
        (Raises, "raises RuntimeError: no such gate"),
    ],
)
def test_failures_are_named(kind: type[Cell], words: str) -> None:
    s2s.check_cell(Plain)
    with pytest.raises(s2s.S2SError, match=f"{kind.__name__} is not a cell that works everywhere: ") as caught:
        s2s.check_cell(kind)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_classes_are_rejected() -> None:
    with pytest.raises(s2s.S2SError, match="takes a class that derives from"):
        s2s.check_cell(nn.GRUCell)  # type: ignore[arg-type]

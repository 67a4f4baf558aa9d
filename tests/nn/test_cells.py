"""Cells against torch's own modules and against the equations written out."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.errors import S2SError
from s2s.nn.backends import LOOP
from s2s.nn.cells import CELLS, GRU, LSTM, RNN, Cell
from s2s.nn.recurrent import RecurrentLayer

pytestmark = pytest.mark.usefixtures("double")


def _randomize(module: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))


def _twin(cell: Cell) -> torch.nn.RNNBase:
    """torch's module with the cell's parameters: another gate order, two biases, and 1 - z for z."""
    size, hidden = cell.input_size, cell.hidden_size
    kind = {"RNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[type(cell).__name__]
    module = kind(size, hidden, batch_first=True)
    ih, hh, bias = cell.weight_ih.data, cell.weight_hh.data, cell.bias.data
    b_hh = torch.zeros_like(bias)
    if isinstance(cell, LSTM):  # ours: f i o c, torch's: i f c o
        order = torch.cat([torch.arange(k * hidden, (k + 1) * hidden) for k in (1, 0, 3, 2)])
        ih, hh, bias = ih[order], hh[order], bias[order]
    if isinstance(cell, GRU):  # ours: z r h, torch's: r 1-z h
        order = torch.cat([torch.arange(k * hidden, (k + 1) * hidden) for k in (1, 0, 2)])
        sign = torch.ones(3 * hidden)
        sign[hidden : 2 * hidden] = -1
        ih, hh, bias = ih[order] * sign[:, None], hh[order] * sign[:, None], bias[order] * sign
        b_hh[2 * hidden :] = cell.bias_hn.data
    module.load_state_dict({"weight_ih_l0": ih, "weight_hh_l0": hh, "bias_ih_l0": bias, "bias_hh_l0": b_hh})
    return module


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["rnn", "lstm", "gru"]),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.integers(1, 6)),
    with_state=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_equals_torch(name: str, sizes: tuple[int, int, int, int], with_state: bool, seed: int) -> None:
    batch, time, inputs, hidden = sizes
    cell = GRU(inputs, hidden, reset="after") if name == "gru" else CELLS[name](inputs, hidden)
    _randomize(cell, seed)
    twin = _twin(cell)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, time, inputs, generator=generator, requires_grad=True)
    state = (
        tuple(torch.randn(batch, hidden, generator=generator) for _ in range(cell.num_states)) if with_state else None
    )
    theirs_state = None
    if state is not None:
        theirs_state = tuple(s.unsqueeze(0) for s in state) if name == "lstm" else state[0].unsqueeze(0)

    ours, final = RecurrentLayer(cell)(x, None, state)
    theirs, their_final = twin(x, theirs_state)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    their_states = their_final if name == "lstm" else (their_final,)
    torch.testing.assert_close(final, tuple(s[0] for s in their_states), rtol=0, atol=1e-12)
    weight = torch.randn(ours.shape, generator=generator)
    gradients = [torch.autograd.grad((outputs * weight).sum(), x) for outputs in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


def test_gru_of_the_note_resets_before_the_multiplication() -> None:
    cell = GRU(3, 4)
    _randomize(cell, 1)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    (w_z, w_r, w_h), (u_z, u_r, u_h) = cell.weight_hh.chunk(3), cell.weight_ih.chunk(3)
    b_z, b_r, b_h = cell.bias.chunk(3)
    z = torch.sigmoid(x @ u_z.T + h @ w_z.T + b_z)
    r = torch.sigmoid(x @ u_r.T + h @ w_r.T + b_r)
    candidate = torch.tanh(x @ u_h.T + (r * h) @ w_h.T + b_h)
    (new,) = cell.step(cell.project(x), (h,))
    torch.testing.assert_close(new, (1 - z) * h + z * candidate)
    torch.testing.assert_close(cell.gates(cell.project(x), (h,))["update"], z)
    after = GRU(3, 4, reset="after")
    after.load_state_dict({**cell.state_dict(), "bias_hn": torch.zeros(4)})
    assert not torch.allclose(after.step(after.project(x), (h,))[0], new)


@pytest.mark.parametrize("name", sorted(CELLS))
def test_columns_of_the_input_can_be_projected_separately(name: str) -> None:
    cell = CELLS[name](7, 4)
    _randomize(cell, 2)
    x = torch.randn(5, 7)
    share = cell.backend.column_projection(cell, 3, 7)(x[:, 3:])
    parts = cell.project(torch.nn.functional.pad(x[:, :3], (0, 4))) + share
    torch.testing.assert_close(parts, cell.project(x))
    share = cell.backend.column_projection(cell, 2, 5)(x[:, 2:5])
    torch.testing.assert_close(LOOP.column_projection(cell, 2, 5)(x[:, 2:5]), share)


def test_initial_biases_and_matrices() -> None:
    cell = LSTM(4, 16, forget_bias=1.5, output_bias=-1.0, recurrent_init="orthogonal")
    forget, input_, output, candidate = cell.bias.chunk(4)
    assert forget.eq(1.5).all()
    assert output.eq(-1).all()
    assert input_.eq(0).all()
    assert candidate.eq(0).all()
    for block in cell.weight_hh.chunk(4):
        torch.testing.assert_close(block @ block.T, torch.eye(16), rtol=0, atol=1e-6)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_new_gru_remembers(reset: Literal["before", "after"]) -> None:
    assert LSTM(4, 16).bias[:16].eq(3).all()
    update, *others = GRU(4, 16, reset=reset, update_bias=-2.0).bias.chunk(3)
    assert update.eq(-2).all()
    assert all(other.eq(0).all() for other in others)
    assert GRU(4, 16, reset=reset).bias[:16].eq(-3).all()


def test_a_misspelt_cell_names_the_nearest_first() -> None:
    with pytest.raises(S2SError, match=r"unknown cell 'lstn'; known, nearest first: lstm"):
        CELLS.find("lstn")
    assert CELLS.find("rnn") is RNN


def test_no_cell_takes_the_name_of_another() -> None:
    with pytest.raises(S2SError, match=r"cell 'gru' is s2s\.nn\.cells\.GRU already"):

        class Mine(LSTM, name="gru"):
            pass

    assert CELLS["gru"] is GRU

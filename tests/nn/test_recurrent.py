"""Time, padding and direction."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from s2s.nn.cells import CELLS, RNN, Cell
from s2s.nn.recurrent import RecurrentLayer, RecurrentStack, StackedCell

pytestmark = pytest.mark.usefixtures("double")


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(CELLS)),
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=5),
    reverse=st.booleans(),
    garbage=st.sampled_from([0.0, 1e30, float("nan"), float("inf")]),
    with_state=st.booleans(),
)
def test_padding_changes_nothing(
    name: str, lengths: list[int], reverse: bool, garbage: float, with_state: bool
) -> None:
    torch.manual_seed(len(lengths))
    layer = RecurrentLayer(CELLS[name](3, 4), reverse)
    time = max(*lengths, 1)
    mask = torch.arange(time) < torch.tensor(lengths)[:, None]
    x = torch.randn(len(lengths), time, 3)
    padded = x.masked_fill(~mask.unsqueeze(-1), garbage).requires_grad_()
    states = tuple(torch.randn(len(lengths), 4) for _ in range(layer.cell.num_states)) if with_state else None
    outputs, final = layer(padded, mask, states)
    if any(lengths):
        (outputs.sum() + sum(f.sum() for f in final)).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    assert outputs[~mask].eq(0).all()
    for row, length in enumerate(lengths):
        alone_state = None if states is None else tuple(s[row : row + 1] for s in states)
        if length == 0:
            before = layer.cell.initial_state(1, x) if alone_state is None else alone_state
            torch.testing.assert_close(tuple(s[row : row + 1] for s in final), before)
            continue
        alone, alone_final = layer(x[row : row + 1, :length], None, alone_state)
        torch.testing.assert_close(outputs[row : row + 1, :length], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(tuple(s[row : row + 1] for s in final), alone_final, rtol=0, atol=1e-12)


class Squared(RNN):
    """Not affine in its input."""

    affine_input = False

    def project(self, x: torch.Tensor) -> torch.Tensor:
        return super().project(x * x)


class Opaque(RNN):
    """Affine, without `input_weight`."""

    def input_weight(self, start: int, stop: int) -> None:
        return None


@pytest.mark.parametrize("kind", [*CELLS.values(), Squared, Opaque])
@pytest.mark.parametrize("beam", [1, 3])
def test_a_context_is_a_constant_input(kind: type[Cell], beam: int) -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(kind(7, 4))
    x, context = torch.randn(2 * beam, 5, 3), torch.randn(2, 4, requires_grad=True)
    rows = context.repeat_interleave(beam, dim=0).unsqueeze(1).expand(-1, 5, -1)
    expected, _ = layer(torch.cat([x, rows], dim=-1), None)
    outputs, _ = layer(x, None, context=context)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    inputs = (context, *layer.parameters())
    gradients = [torch.autograd.grad(result.sum(), inputs) for result in (outputs, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_both_directions_and_two_levels_equal_torch_on_packed_sequences() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([5, 3, 1])
    mask = torch.arange(5) < lengths[:, None]
    x = torch.randn(3, 5, 4)
    theirs = torch.nn.RNN(4, 6, num_layers=2, bidirectional=True, batch_first=True)
    levels = []
    for level in range(2):
        pair = []
        for suffix in ("", "_reverse"):
            cell = RNN(4 if level == 0 else 12, 6)
            get = lambda n, level=level, suffix=suffix: getattr(theirs, f"{n}_l{level}{suffix}").data  # noqa: E731
            cell.weight_ih.data, cell.weight_hh.data = get("weight_ih"), get("weight_hh")
            cell.bias.data = get("bias_ih") + get("bias_hh")
            pair.append(RecurrentLayer(cell, reverse=suffix != ""))
        levels.append(pair)
    stack = RecurrentStack(levels, dropout=0.0)
    outputs, finals = stack(x, mask)
    packed, their_final = theirs(pack_padded_sequence(x, lengths, batch_first=True))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(torch.stack([f[0] for f in finals]), their_final)


@pytest.mark.parametrize("reverse", [False, True])
def test_trace_returns_the_states_of_forward(reverse: bool) -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(CELLS["lstm"](3, 4), reverse)
    mask = torch.arange(6) < torch.tensor([6, 2])[:, None]
    x = torch.randn(2, 6, 3, requires_grad=True)
    outputs, final = layer(x, mask)
    traced = layer.trace(x, mask)
    assert set(traced) == {"state0", "state1", "forget", "input", "output", "candidate"}
    torch.testing.assert_close(traced["state0"][mask], outputs[mask])
    last = 0 if reverse else -1
    torch.testing.assert_close(traced["state1"][0, last], final[1][0])
    torch.testing.assert_close(traced["output"] * torch.tanh(traced["state1"]), traced["state0"])
    assert torch.autograd.grad(traced["forget"][0, 3].sum(), x)[0].abs().sum() > 0


@pytest.mark.parametrize("kind", [CELLS["gru"], Squared])
def test_trace_takes_a_context(kind: type[Cell]) -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(kind(7, 4))
    x, context = torch.randn(2, 5, 3), torch.randn(2, 4)
    outputs, _ = layer(x, None, context=context)
    traced = layer.trace(x, None, context=context)
    torch.testing.assert_close(traced["state0"], outputs)
    assert set(traced) == {"state0"} | ({"update", "reset", "candidate"} if kind is CELLS["gru"] else set())


def test_a_stack_of_cells_is_the_stack_of_their_layers() -> None:
    torch.manual_seed(0)
    cells = [CELLS["lstm"](3, 5), CELLS["gru"](5, 5), CELLS["rnn"](5, 5)]
    x = torch.randn(2, 4, 3)
    apart, finals = RecurrentStack([[RecurrentLayer(cell)] for cell in cells], 0.0)(x, None)
    together, final = RecurrentLayer(StackedCell(cells, 0.0))(x, None)
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(final, (*finals[2], *finals[1], *finals[0]))

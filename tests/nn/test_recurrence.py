"""All recurrence backends give the same numbers; `auto` selects an available one."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s2s.nn.attention import AttentionCell, BahdanauAttention
from s2s.nn.backends import Backend
from s2s.nn.cells import CELLS, LSTM, RNN, Cell, State
from s2s.nn.recurrent import (
    Recurrence,
    RecurrentLayer,
    RecurrentStack,
    StackedCell,
    check_recurrence,
    set_recurrence,
)

pytestmark = pytest.mark.usefixtures("double")

CPU, GPU = torch.device("cpu"), torch.device("cuda")
IN_TORCH: list[tuple[str, dict[str, Any]]] = [("rnn", {}), ("lstm", {}), ("gru", {"reset": "after"})]
LINEAR: list[tuple[str, dict[str, Any]]] = [("ssru", {}), ("mingru", {}), ("minlstm", {})]


class Own(RNN):
    """A cell with its own step, for cell_options there is neither kernel nor torch function."""

    def step(self, gx: Tensor, state: State) -> State:
        return (torch.relu(gx + state[0]),)


def _layer(cell: Cell, recurrence: Recurrence, reverse: bool = False) -> RecurrentLayer:
    layer = RecurrentLayer(cell, reverse)
    layer.recurrence = recurrence
    return layer


@settings(max_examples=40, deadline=None)
@given(
    cell_options=st.sampled_from(IN_TORCH + LINEAR),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    masked=st.booleans(),
    reverse=st.booleans(),
    with_state=st.booleans(),
    with_context=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_backends_agree(
    cell_options: tuple[str, dict[str, Any]],
    lengths: list[int],
    masked: bool,
    reverse: bool,
    with_state: bool,
    with_context: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    name, options = cell_options
    cell = CELLS[name](5, 4, **options)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(0.7 * torch.randn_like(parameter))
    batch, time = len(lengths), max(*lengths, 1)
    mask = torch.arange(time) < torch.tensor(lengths).unsqueeze(1) if masked else None
    x = torch.randn(batch, time, 3 if with_context else 5, requires_grad=True)
    context = torch.randn(batch, 2, requires_grad=True) if with_context else None
    state = tuple(torch.randn(batch, 4, requires_grad=True) for _ in range(cell.num_states)) if with_state else None
    inputs = [x, *(state or ()), *cell.parameters(), *([] if context is None else [context])]
    results = []
    for recurrence in ("loop", "bptt", "scan" if cell_options in LINEAR else "torch"):
        layer = _layer(cell, recurrence, reverse)  # type: ignore[arg-type]
        assert layer.select_backend(CPU) == (recurrence, "as configured")
        outputs, final = layer(x, mask, state, context=context)
        weights = torch.linspace(1, 2, outputs.numel()).view_as(outputs)
        total = x.sum() + (outputs * weights).sum() + sum((f * f).sum() for f in final)
        gradients = torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
        results.append([outputs, *final, *gradients])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), IN_TORCH)
def test_torch_in_bf16(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    cell = CELLS[name](5, 4, **options).float()
    mask = torch.arange(9) < torch.tensor([9, 4, 6]).unsqueeze(1)
    x = torch.randn(3, 9, 5, dtype=torch.float32)
    exact, _ = _layer(cell, "loop")(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        bf16, final = _layer(cell, "torch")(x, mask)
    assert bf16.dtype == final[0].dtype == torch.float32
    assert (bf16 - exact).abs().max() < 0.05


def test_auto_selects_an_available_backend() -> None:
    backends = {
        name: (RecurrentLayer(cell).select_backend(CPU)[0], RecurrentLayer(cell).select_backend(GPU)[0])
        for name, cell in {
            **{name: kind(3, 4) for name, kind in CELLS.items()},
            "gru, reset after": CELLS["gru"](3, 4, reset="after"),
            "lstm without a gate": LSTM(3, 4, open_gate="input"),
            "own": Own(3, 4),
            "stacked": StackedCell([RNN(3, 4), RNN(4, 4)], 0.0),
            "attention": AttentionCell(LSTM(7, 4), BahdanauAttention(4, 4, 2), "previous", False, 4),
            "attention over own": AttentionCell(Own(4, 4), BahdanauAttention(4, 4, 2), "current", True, 4),
            "attention with feeding": AttentionCell(LSTM(7, 4), BahdanauAttention(4, 4, 2), "current", True, 4),
        }.items()
    }
    fused, kernel, looped = ("bptt", "torch"), ("bptt", "bptt"), ("loop", "loop")
    assert backends.pop("ssru") == backends.pop("mingru") == backends.pop("minlstm") == ("bptt", "scan")
    assert backends.pop("rnn") == backends.pop("lstm") == backends.pop("gru, reset after") == fused
    assert [backends.pop(name) for name in ("gru", "mgu", "sru", "lstm without a gate", "attention")] == [kernel] * 5
    assert backends.pop("attention with feeding") == kernel
    assert backends == {"own": looped, "stacked": looped, "attention over own": looped}


def test_the_backend_is_logged_once_for_all_layers(caplog: pytest.LogCaptureFixture) -> None:
    stack = RecurrentStack([[RecurrentLayer(RNN(3, 4)), RecurrentLayer(RNN(3, 4), True)]], 0.0)
    model = torch.nn.ModuleDict({"encoder": stack, "decoder": RecurrentLayer(Own(8, 4))})
    with caplog.at_level(logging.INFO):
        set_recurrence(model, "torch", CPU)
    assert caplog.messages == [
        "recurrence of encoder: torch (as configured)",
        "recurrence of decoder: loop (the cell has no kernel)",
    ]
    outputs, _ = stack(torch.randn(2, 5, 3), None)
    set_recurrence(model, "loop", CPU)
    torch.testing.assert_close(stack(torch.zeros(2, 5, 3), None)[0].shape, outputs.shape)


class Fast(Backend):
    """A user-defined backend."""

    calls = 0

    def has_kernel(self, cell: Cell) -> bool:
        return True

    def sequence(self, cell: Cell, gx: Tensor, state: State, batch_sizes: list[int], *memory: object) -> State:
        self.calls += 1
        return self.loop(cell, gx, state, batch_sizes)


def test_a_user_backend_is_used_unless_the_loop_is_configured() -> None:
    for recurrence, calls in (("auto", 1), ("loop", 0)):
        cell = Own(4, 4)
        cell.backend = Fast()
        _layer(cell, recurrence)(torch.randn(2, 5, 4), None)  # type: ignore[arg-type]
        assert cell.backend.calls == calls


def test_a_backend_of_no_layer_is_an_error() -> None:
    model = torch.nn.Sequential(RecurrentLayer(CELLS["gru"](3, 4)), RecurrentLayer(Own(4, 4)))
    assert check_recurrence(model, "bptt") == check_recurrence(model, "loop") == check_recurrence(model, "auto") == []
    assert "recurrence=torch: no cell of this model has it" in check_recurrence(model, "torch")[0]

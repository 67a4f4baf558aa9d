"""Whole sequences against the equations written out in numpy, float64, one sentence and one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from s2s.nn.cells import GRU, LSTM, MGU, RNN, SRU, Cell
from s2s.nn.linear_cells import SSRU, MinGRU, MinLSTM
from s2s.nn.recurrent import RecurrentLayer

pytestmark = pytest.mark.usefixtures("double")

Array = NDArray[np.float64]
Parameters = dict[str, Array]


def sigma(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def affine(p: Parameters, gate: int, gates: int, x: Array, h: Array) -> Array:
    """W [h, x] + b of one gate."""
    u, w, b = (np.split(p[name], gates)[gate] for name in ("weight_ih", "weight_hh", "bias"))
    return u @ x + w @ h + b


def rnn(p: Parameters, x: Array, h: Array) -> tuple[Array, ...]:
    return (np.tanh(affine(p, 0, 1, x, h)),)


def lstm(p: Parameters, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    f, i, o = (sigma(affine(p, gate, 4, x, h)) for gate in range(3))
    c = f * c + i * np.tanh(affine(p, 3, 4, x, h))
    return o * np.tanh(c), c


def lstm_without(gate: int) -> Callable[..., tuple[Array, ...]]:
    """LSTM step with the gate fixed at 1; the others are stacked without it."""

    def step(p: Parameters, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
        f, i, o = (
            np.ones_like(h) if name == gate else sigma(affine(p, name - (name > gate), 3, x, h)) for name in range(3)
        )
        c = f * c + i * np.tanh(affine(p, 2, 3, x, h))
        return o * np.tanh(c), c

    return step


def gru(p: Parameters, x: Array, h: Array) -> tuple[Array, ...]:
    z, r = (sigma(affine(p, gate, 3, x, h)) for gate in range(2))
    return ((1 - z) * h + z * np.tanh(affine(p, 2, 3, x, r * h)),)


def gru_after(p: Parameters, x: Array, h: Array) -> tuple[Array, ...]:
    z, r = (sigma(affine(p, gate, 3, x, h)) for gate in range(2))
    u, w, b = (np.split(p[name], 3)[2] for name in ("weight_ih", "weight_hh", "bias"))
    return ((1 - z) * h + z * np.tanh(u @ x + b + r * (w @ h + p["bias_hn"])),)


def mgu(p: Parameters, x: Array, h: Array) -> tuple[Array, ...]:
    f = sigma(affine(p, 0, 2, x, h))
    return ((1 - f) * h + f * np.tanh(affine(p, 1, 2, x, f * h)),)


def sru(p: Parameters, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    w, w_f, w_r = np.split(p["weight_ih"], 3)
    (v_f, v_r), (b_f, b_r) = np.split(p["weight_c"], 2), np.split(p["bias"], 2)
    f, r = sigma(w_f @ x + v_f * c + b_f), sigma(w_r @ x + v_r * c + b_r)
    c = f * c + (1 - f) * (w @ x)
    return r * c + (1 - r) * (p["weight_skip"] @ x if "weight_skip" in p else x), c


def ssru(p: Parameters, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    w_f, w = np.split(p["weight_ih"], 2)
    f = sigma(w_f @ x + p["bias"])
    c = f * c + (1 - f) * (w @ x)
    return np.maximum(c, 0), c


def mingru(p: Parameters, x: Array, h: Array) -> tuple[Array, ...]:
    z, candidate = np.split(p["weight_ih"] @ x + p["bias"], 2)
    return ((1 - sigma(z)) * h + sigma(z) * candidate,)


def minlstm(p: Parameters, x: Array, h: Array) -> tuple[Array, ...]:
    f, i, candidate = np.split(p["weight_ih"] @ x + p["bias"], 3)
    f, i = sigma(f), sigma(i)
    return (f / (f + i) * h + i / (f + i) * candidate,)


CASES: dict[str, tuple[Callable[..., tuple[Array, ...]], type[Cell], dict[str, Any], int]] = {
    "rnn": (rnn, RNN, {}, 3),
    "lstm": (lstm, LSTM, {}, 3),
    "lstm without a forget gate": (lstm_without(0), LSTM, {"open_gate": "forget"}, 3),
    "lstm without an input gate": (lstm_without(1), LSTM, {"open_gate": "input"}, 3),
    "lstm without an output gate": (lstm_without(2), LSTM, {"open_gate": "output"}, 3),
    "gru": (gru, GRU, {}, 3),
    "gru, reset after": (gru_after, GRU, {"reset": "after"}, 3),
    "mgu": (mgu, MGU, {}, 3),
    "sru": (sru, SRU, {}, 3),
    "sru of equal widths": (sru, SRU, {}, 4),
    "ssru": (ssru, SSRU, {}, 3),
    "mingru": (mingru, MinGRU, {}, 3),
    "minlstm": (minlstm, MinLSTM, {}, 3),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("with_state", [False, True])
def test_equals_the_equations(name: str, with_state: bool) -> None:
    equations, kind, options, inputs = CASES[name]
    torch.manual_seed(0)
    cell = kind(inputs, 4, **options)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    lengths = [6, 1, 3]
    x = torch.randn(3, 6, inputs)
    mask = torch.arange(6) < torch.tensor(lengths).unsqueeze(1)
    initial = tuple(torch.randn(3, 4) if with_state else torch.zeros(3, 4) for _ in range(cell.num_states))
    outputs, final = RecurrentLayer(cell)(x, mask, initial if with_state else None)

    p = {key: value.detach().numpy() for key, value in cell.named_parameters()}
    for row, length in enumerate(lengths):
        state = tuple(s[row].numpy() for s in initial)
        for t in range(length):
            state = equations(p, x[row, t].numpy(), *state)
            np.testing.assert_allclose(outputs[row, t].detach().numpy(), state[0], rtol=0, atol=1e-12)
        for mine, other in zip(final, state, strict=True):
            np.testing.assert_allclose(mine[row].detach().numpy(), other, rtol=0, atol=1e-12)


def test_an_open_gate_has_no_parameters() -> None:
    full = LSTM(3, 4)
    for gate in ("forget", "input", "output"):
        cell = LSTM(3, 4, open_gate=gate)  # type: ignore[arg-type]
        assert cell.weight_hh.shape == (12, 4)
        assert sum(p.numel() for p in cell.parameters()) * 4 == sum(p.numel() for p in full.parameters()) * 3
        x, state = torch.randn(2, 3), cell.initial_state(2, torch.zeros(0))
        assert cell.gates(cell.project(x), state)[gate].eq(1).all()
    open_input = LSTM(3, 4, forget_bias=2.5, output_bias=1.5, open_gate="input")
    assert open_input.bias.tolist() == [2.5] * 4 + [1.5] * 4 + [0.0] * 4

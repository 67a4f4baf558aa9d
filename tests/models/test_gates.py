"""The gates that a model returns reproduce its states by the equations of the LSTM."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s2s.data.batching import Batch, collate
from s2s.models import build_model
from s2s.models.interface import Gates
from s2s.models.recurrent import RecurrentDecoder, RecurrentEncoder
from s2s.models.seq2seq import EncoderDecoder
from tests.models.contract import ATTENTIONS, VOCABULARY, recurrent, transformer

SOURCES, TARGETS = [[4, 5, 6, 7], [8, 4], [5]], [[6, 7], [4, 5, 8, 6, 7], [4]]


@pytest.fixture(autouse=True)
def _double(_default_type: None) -> None:
    torch.set_default_dtype(torch.float64)


def make(attention: str, bidirectional: bool, layers: int) -> tuple[EncoderDecoder, Batch]:
    torch.manual_seed(layers)
    model = build_model(recurrent("lstm", attention, bidirectional, layers), VOCABULARY, VOCABULARY).eval()
    assert isinstance(model, EncoderDecoder)
    return model, collate(SOURCES, TARGETS, [0, 1, 2])


def run_lstm(gates: dict[str, Tensor], h: Tensor, c: Tensor, steps: list[int]) -> tuple[Tensor, Tensor]:
    """h after each of the steps (T, H) and the last c of one sentence, from its gates (T, H) and initial state (H)."""
    outputs = torch.zeros_like(gates["forget"])
    for t in steps:
        c = gates["forget"][t] * c + gates["input"][t] * gates["candidate"][t]
        h = gates["output"][t] * torch.tanh(c)
        outputs[t] = h
    return outputs, c


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_encoder(bidirectional: bool, layers: int) -> None:
    model, batch = make("fixed", bidirectional, layers)
    encoder = model.encoder
    assert isinstance(encoder, RecurrentEncoder)
    embedded = torch.randn(3, batch.source.size(1), 8)
    activations = encoder.gates(embedded, batch.source_mask)
    directions = ["forward", "backward"] if bidirectional else [""]
    level = "encoder" if layers == 1 else f"encoder {layers}"
    assert list(activations)[-len(directions) :] == [f"{level} {direction}".strip() for direction in directions]
    assert len(activations) == layers * len(directions)
    outputs = encoder(embedded, batch.source_mask).values
    for row, length in enumerate(batch.source_lengths):
        for number, direction in enumerate(directions):
            gates = {name: values[row] for name, values in activations[f"{level} {direction}".strip()].items()}
            steps = list(range(length))[:: -1 if direction == "backward" else 1]
            expected, _ = run_lstm(gates, torch.zeros(7), torch.zeros(7), steps)
            torch.testing.assert_close(expected[:length], outputs[row, :length, 7 * number : 7 * number + 7])


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("layers", [1, 2])
def test_decoder(attention: str, layers: int) -> None:
    model, batch = make(attention, True, layers)
    decoder = model.decoder
    assert isinstance(decoder, RecurrentDecoder)
    state = model.start(batch.source, batch.source_mask)
    embedded = torch.randn(3, batch.target.size(1), 8)
    activations = decoder.gates(embedded, state)
    assert list(activations) == (["decoder"] if layers == 1 else ["decoder 1", "decoder 2"])
    _, after = decoder(embedded, state)
    bottom_up = list(activations.values())
    # If layers and attention step together, the states of the top layer come first.
    for level, gates in enumerate(bottom_up if decoder.attending is None else bottom_up[::-1]):
        begin, end = ([rows[f"state{2 * level + n}"][:, :6] for n in (0, 1)] for rows in (state.rows, after.rows))
        for row in range(3):
            row_gates = {name: values[row] for name, values in gates.items()}
            outputs, c = run_lstm(row_gates, begin[0][row], begin[1][row], list(range(embedded.size(1))))
            torch.testing.assert_close(outputs[-1], end[0][row])
            torch.testing.assert_close(c, end[1][row])


def test_padding_is_left_out() -> None:
    model, batch = make("fixed", True, 1)
    activations = model.gates(batch)
    rows: Gates = {}
    for one in range(3):
        for layer, gates in model.gates(collate(SOURCES[one : one + 1], TARGETS[one : one + 1], [0])).items():
            for gate, values in gates.items():
                by_gate = rows.setdefault(layer, {})
                by_gate[gate] = torch.cat([by_gate[gate], values]) if gate in by_gate else values
    assert list(activations) == ["encoder forward", "encoder backward", "decoder"]
    for layer, gates in activations.items():
        for gate, values in gates.items():
            torch.testing.assert_close(values, rows[layer][gate])


def test_a_transformer_has_none() -> None:
    model = build_model(transformer(), VOCABULARY, VOCABULARY)
    assert model.gates(collate(SOURCES, TARGETS, [0, 1, 2])) == {}

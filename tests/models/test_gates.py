"""The gates that a model shows are those that made its states: by the equations, gate by gate, they give the same."""

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
    """h after each of the steps (T, H) and the last c of one sentence, from its gates (T, H) and first state (H)."""
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
    shown = encoder.gates(embedded, batch.source_mask)
    ways = ["forward", "backward"] if bidirectional else [""]
    level = "encoder" if layers == 1 else f"encoder {layers}"
    assert list(shown)[-len(ways) :] == [f"{level} {way}".strip() for way in ways]
    assert len(shown) == layers * len(ways)
    outputs = encoder(embedded, batch.source_mask).values
    for row, length in enumerate(batch.source_lengths):
        for number, way in enumerate(ways):
            gates = {name: values[row] for name, values in shown[f"{level} {way}".strip()].items()}
            steps = list(range(length))
            made, _ = run_lstm(gates, torch.zeros(7), torch.zeros(7), steps[::-1] if way == "backward" else steps)
            torch.testing.assert_close(made[:length], outputs[row, :length, 7 * number : 7 * number + 7])


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("layers", [1, 2])
def test_decoder(attention: str, layers: int) -> None:
    model, batch = make(attention, True, layers)
    decoder = model.decoder
    assert isinstance(decoder, RecurrentDecoder)
    state = model.start(batch.source, batch.source_mask)
    embedded = torch.randn(3, batch.target.size(1), 8)
    shown = decoder.gates(embedded, state)
    assert list(shown) == (["decoder"] if layers == 1 else ["decoder 1", "decoder 2"])
    _, after = decoder(embedded, state)
    bottom_up = list(shown.values())
    # Where the layers and the attention step together, the states of the top layer come first.
    for place, gates in enumerate(bottom_up if decoder.attending is None else bottom_up[::-1]):
        begin, end = ([rows[f"state{2 * place + n}"][:, :6] for n in (0, 1)] for rows in (state.rows, after.rows))
        for row in range(3):
            of_row = {name: values[row] for name, values in gates.items()}
            outputs, c = run_lstm(of_row, begin[0][row], begin[1][row], list(range(embedded.size(1))))
            torch.testing.assert_close(outputs[-1], end[0][row])
            torch.testing.assert_close(c, end[1][row])


def test_padding_is_left_out() -> None:
    model, batch = make("fixed", True, 1)
    shown = model.gates(batch)
    rows: Gates = {}
    for one in range(3):
        for layer, gates in model.gates(collate(SOURCES[one : one + 1], TARGETS[one : one + 1], [0])).items():
            for gate, values in gates.items():
                kept = rows.setdefault(layer, {})
                kept[gate] = torch.cat([kept[gate], values]) if gate in kept else values
    assert list(shown) == ["encoder forward", "encoder backward", "decoder"]
    for layer, gates in shown.items():
        for gate, values in gates.items():
            torch.testing.assert_close(values, rows[layer][gate])


def test_a_transformer_has_none() -> None:
    model = build_model(transformer(), VOCABULARY, VOCABULARY)
    assert model.gates(collate(SOURCES, TARGETS, [0, 1, 2])) == {}

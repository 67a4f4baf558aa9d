"""Every architecture learns to copy, the smallest task that needs the whole path from source to target.

With a fixed-length context vector it copies sequences of 4 symbols, with attention 1 to 8 symbols. Most models are slow
tests: they take hundreds of updates each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from s2s.config import CausalLanguageModelling, Denoising, MaskedLanguageModelling, Objective
from s2s.data.batching import Batch, collate, pad_with_eos
from s2s.data.objectives import batch_maker
from s2s.decoding.search import search
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from tests.models.contract import ATTENTIONS, CELLS, blocks, decoder_only, decoding

SYMBOLS = 8
VOCABULARY = 4 + SYMBOLS
# A stand-in for a tokeniser: each symbol is a word.
_SIDE = SimpleNamespace(pieces_of=lambda ids: ["▁x"] * len(ids), is_byte=np.zeros(VOCABULARY, dtype=np.bool_))
_TOKENIZER: Any = SimpleNamespace(target=_SIDE, target_size=VOCABULARY)
# With the entropy of what cannot be known, in nats a token: the first symbol, and where the text ends.
OBJECTIVES: dict[str, tuple[Objective, float]] = {
    "masked_lm": (MaskedLanguageModelling("masked_lm", "masked_lm", 0.15, True), 0.0),
    "denoising": (Denoising("denoising", "denoising", 0.15, 1.0, True), 0.0),
    "causal_lm": (CausalLanguageModelling("causal_lm", "causal_lm"), (math.log(SYMBOLS) + math.log(4)) / 7.5),
}


def _batch(size: int, lengths: tuple[int, int], generator: torch.Generator) -> Batch:
    shortest, longest = lengths
    rows = []
    for _ in range(size):
        length = int(torch.randint(shortest, longest + 1, (1,), generator=generator))
        rows.append(torch.randint(4, VOCABULARY, (length,), generator=generator).tolist())
    return collate(rows, rows, list(range(size)))


def _model(cell: str, attention: str) -> dict[str, Any]:
    name, options = CELLS[cell]
    side = {"type": "recurrent", "cell": name, "cell_options": options, "layers": 1, "dropout": 0.0}
    if attention not in ("none", "fixed"):
        side = side | {"hidden_size": 32}
        decoder = side | {"attention": ATTENTIONS[attention] | {"size": 32}}
    else:
        side = side | {"hidden_size": 64}
        decoder = side | {"attention": ATTENTIONS[attention]}
    base = {"name": "copy", "embedding_size": 24, "tie_embeddings": "output", "dropout": 0.0}
    return base | {"encoder": side | {"bidirectional": True}, "decoder": decoder}


def _blocks(encoder: str, decoder: str, norm: str = "pre", positions: str = "sinusoidal") -> dict[str, Any]:
    model = blocks(encoder, decoder, norm, positions) | {"embedding_size": 32, "dropout": 0.0}
    sides = {side: model[side] | {"heads": 4, "feedforward": 64, "dropout": 0.0} for side in ("encoder", "decoder")}
    return model | sides


def _decoder_only(mixer: str, positions: str) -> dict[str, Any]:
    model = decoder_only(mixer, positions=positions) | {"embedding_size": 32, "dropout": 0.0}
    return model | {"decoder": model["decoder"] | {"heads": 4, "feedforward": 64, "dropout": 0.0}}


# Quick, beside the texts of `test_learns_a_text_without_surprises`.
FAST = {
    "lstm-fixed": _model("lstm", "fixed"),
}
# Together with `FAST`: each kind of cell and of attention.
SLOW = (
    {
        f"{cell}-{attention}": _model(cell, attention)
        for cell, attention in (
            ("rnn", "bahdanau"),
            ("gru", "bahdanau-current"),
            ("lstm", "none"),
            ("gru", "fixed"),
            ("gru", "bahdanau-feeding"),
            ("mgu", "bahdanau"),
            ("ssru", "bahdanau"),
            ("mingru", "bahdanau-current"),
            ("minlstm", "fixed"),
            ("sru", "fixed"),
            ("lstm-no-forget", "bahdanau"),
        )
    }
    | {
        "-".join(case): _blocks(*case)
        for case in (
            ("attention", "attention", "post", "rotary"),
            ("convolution", "convolution", "none", "sinusoidal"),
            ("attention", "minlstm", "pre", "sinusoidal"),
            ("mingru", "convolution", "pre", "recurrent"),
        )
    }
    | {
        "gpt-attention-rotary": _decoder_only("attention", "rotary"),
        "gpt-lstm": _decoder_only("lstm", "none"),  # whose state is the fixed-length context vector
    }
)


def _learn(
    model: Seq2Seq, batches: Callable[[], Batch], held_out: Batch, enough: float, most: int
) -> tuple[float, int]:
    """Trains until the held-out loss, in nats a token, is below `enough`; returns it and the number of updates."""
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.98)), float("inf")
    for step in range(1, most + 1):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(step / 50, (300 / max(step, 300)) ** 0.5)
        sums = model(batches())
        (sums.loss / sums.tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            with torch.no_grad():
                measured = model(held_out)
            loss = (measured.nll / measured.tokens).item()
            if loss < enough:
                return loss, step
    return loss, most


@pytest.mark.parametrize(
    "section",
    [
        *(pytest.param(section, id=name) for name, section in FAST.items()),
        *(pytest.param(section, id=name, marks=pytest.mark.slow) for name, section in SLOW.items()),
    ],
)
def test_learns_to_copy(section: dict[str, Any]) -> None:
    torch.manual_seed(1)
    model = build_model(section, VOCABULARY, VOCABULARY)
    lengths = (1, 8) if model.reads != "fixed" else (4, 4)
    generator = torch.Generator().manual_seed(2)
    held_out = _batch(100, lengths, torch.Generator().manual_seed(3))
    loss, step = _learn(model, lambda: _batch(64, lengths, generator), held_out, 0.02, 2000)
    assert loss < 0.02, f"{loss:.3f} nats a token after {step} updates"
    model.eval()
    references = [row[:n].tolist() for row, n in zip(held_out.target, held_out.target_mask.sum(1) - 1, strict=True)]
    hypotheses = search(model, *pad_with_eos(references), decoding(beam=2), [20] * len(references))
    assert sum(row[0].tokens == ids for row, ids in zip(hypotheses, references, strict=True)) >= 95


@pytest.mark.parametrize(
    ("objective", "encoder", "decoder"),
    [
        ("masked_lm", "convolution", "attention"),
        pytest.param("masked_lm", "attention", "attention", marks=pytest.mark.slow),
        pytest.param("masked_lm", "ssru", "attention", marks=pytest.mark.slow),
        pytest.param("denoising", "attention", "attention", marks=pytest.mark.slow),
        ("causal_lm", "", "lstm"),
        pytest.param("causal_lm", "", "attention", marks=pytest.mark.slow),
    ],
)
def test_learns_a_text_without_surprises(objective: str, encoder: str, decoder: str) -> None:
    """Each text counts upwards from some symbol, around the end: whatever is masked or comes next can be known."""
    torch.manual_seed(1)
    positions = "rotary" if decoder == "attention" else "none"
    section = _blocks(encoder, decoder) if encoder else _decoder_only(decoder, positions)
    model = build_model(section, VOCABULARY, VOCABULARY, objective)
    config, entropy = OBJECTIVES[objective]
    make_batch, random = batch_maker(config, _TOKENIZER, "en"), np.random.default_rng(1)

    def batch(size: int, seed: int) -> Batch:
        starts, lengths = random.integers(SYMBOLS, size=size), random.integers(5, 9, size=size)
        rows = [
            [4 + (start + n) % SYMBOLS for n in range(length)] for start, length in zip(starts, lengths, strict=True)
        ]
        return make_batch(rows, rows, np.arange(size), [seed])

    seeds = itertools.count(1)
    loss, step = _learn(model, lambda: batch(64, next(seeds)), batch(200, 0), entropy + 0.05, 400)
    assert entropy - 0.05 < loss < entropy + 0.05, f"{loss:.3f} nats a token after {step} updates"

"""First biases: what is typed is what the gates start with, and closing a gap needs a gap."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s.lab.biases import NOTE, PAPER, PLAIN, PLAIN_GRU, Settings, Start, draw, find, measure
from s2s.lab.translation import inner_parameters
from s2s.models import build_model
from s2s.nn.cells import Cell
from s2s.training.checkpoint import RunDirectory
from tests.lab.translating import SMALL, said, small_bench, through_json


@pytest.mark.parametrize(
    ("start", "values"),
    [
        (PLAIN, {"forget": 0, "output": 0}),
        (NOTE, {"forget": 0, "output": 1}),
        (PAPER, {"forget": 1, "output": 0}),
        (Start.lstm(3, 0), {"forget": 3, "output": 0}),
        (PLAIN_GRU, {"update": 0}),
        (Start.gru(-3), {"update": -3}),
    ],
)
def test_a_cell_that_reads_nothing_starts_at_its_bias(
    root: Path, tmp_path: Path, start: Start, values: dict[str, float]
) -> None:
    with small_bench(root, tmp_path) as bench:
        section = bench.configuration([*SMALL, *start.typed()])["model"]
    cells = [module for module in build_model(section, 8, 8).modules() if isinstance(module, Cell)]
    assert len(cells) == 3
    for cell in cells:
        gates = cell.gates(cell.project(torch.zeros(1, cell.input_size)), cell.initial_state(1, torch.zeros(1)))
        for gate in set(gates) - {"candidate"}:
            expected = 1 / (1 + math.exp(-values.get(gate, 0)))
            torch.testing.assert_close(gates[gate], torch.full_like(gates[gate], expected))


@pytest.mark.slow  # trains five networks
def test_defaults_are_the_runs_of_other_experiments(root: Path, tmp_path: Path) -> None:
    assert Start.lstm(3, 0).typed() == ["model=lstm"]
    assert Start.gru(-3).typed() == ["model=gru"]
    with small_bench(root, tmp_path) as bench:
        numbers = through_json(measure(Settings(SMALL, lstm=[(3, 0)], gru=[-3], seeds=[1]), bench))
        sizes = [inner_parameters(_section(path)) for path in tmp_path.glob("runs/*")]
    assert max(sizes) <= 1.02 * min(sizes)
    assert len(list(tmp_path.glob("runs/*"))) == len(numbers["bleu"]) == 6
    assert numbers["standard"] == ["LSTM, b_f = 3, b_o = 0", "GRU, b_z = -3"]
    assert len({losses[0] for losses in numbers["loss"].values()}) == 6
    assert find(numbers).verdict is None
    for narrow in (False, True):
        assert len(draw(numbers, narrow).axes) == 2


def _section(run: Path) -> dict[str, Any]:
    model: dict[str, Any] = RunDirectory(run).load_config()["model"]
    return model


def numbers_with(plain: float, note: float, paper: float, gru: float, seeds: int = 3) -> dict[str, Any]:
    bleu = {PLAIN: plain, NOTE: note, PAPER: paper, PLAIN_GRU: gru}
    around = [-0.05, 0.0, 0.05][:seeds]
    return {
        "standard": [],
        "bleu": {
            start.name: [value + place * by for by in around] for place, (start, value) in enumerate(bleu.items(), 1)
        },
        "loss": {start.name: [2.0] * seeds for start in bleu},
    }


@pytest.mark.parametrize(
    ("bleu", "verdict"),
    [
        ((20, 24.5, 20, 25), "supported"),
        ((20, 30, 20, 25), "supported"),  # better than the GRU is not behind it
        ((20, 22, 24.5, 25), "not supported"),  # better, but 3 are left: it is the forget gate
        ((24.5, 24.2, 24.5, 25), "not supported"),  # close, but it was as close before
        ((26, 27, 26, 25), "not supported"),  # no gap to close
    ],
)
def test_closing_a_gap(bleu: tuple[float, float, float, float], verdict: str) -> None:
    assert find(numbers_with(*bleu)).verdict == verdict


def test_both_gates_are_judged() -> None:
    findings = find(numbers_with(20, 20.1, 24.5, 25))
    assert findings.verdict == "not supported"
    assert "The same test of b_f = 1: supported" in findings.reason
    assert "b_f = 1, as Jozefowicz et al. 2015 have it, adds 4.5 BLEU and ends 0.5 behind the GRU" in said(findings)


def test_a_single_seed_is_no_verdict() -> None:
    assert find(numbers_with(20, 24, 20, 25, seeds=1)).verdict is None

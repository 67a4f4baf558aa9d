"""Initial biases: the gates start with the biases of the overrides, and closing a gap needs a gap."""

import math
from typing import Any

import pytest
import torch

from s2s.lab import biases
from s2s.lab.biases import NOTE, PAPER, PLAIN, PLAIN_GRU, Initialisation
from s2s.lab.runner import JobRunner
from s2s.lab.translation import inner_parameters
from s2s.models import build_model
from s2s.nn.cells import Cell
from s2s.training.checkpoint import RunDirectory
from tests.lab.small import SMALL, assert_draws, measured, text


@pytest.mark.parametrize(
    ("initialisation", "values"),
    [
        (PLAIN, {"forget": 0, "output": 0}),
        (NOTE, {"forget": 0, "output": 1}),
        (PAPER, {"forget": 1, "output": 0}),
        (Initialisation.lstm(3, 0), {"forget": 3, "output": 0}),
        (PLAIN_GRU, {"update": 0}),
        (Initialisation.gru(-3), {"update": -3}),
    ],
)
def test_a_cell_without_input_starts_at_its_bias(
    runner: JobRunner, initialisation: Initialisation, values: dict[str, float]
) -> None:
    section = runner.compose([*SMALL, *initialisation.overrides()])["model"]
    cells = [module for module in build_model(section, 8, 8).modules() if isinstance(module, Cell)]
    assert len(cells) == 3
    for cell in cells:
        gates = cell.gates(cell.project(torch.zeros(1, cell.input_size)), cell.initial_state(1, torch.zeros(1)))
        for gate in set(gates) - {"candidate"}:
            expected = 1 / (1 + math.exp(-values.get(gate, 0)))
            torch.testing.assert_close(gates[gate], torch.full_like(gates[gate], expected))


@pytest.mark.slow  # trains five networks
def test_defaults_share_the_runs_of_other_experiments(runner: JobRunner) -> None:
    assert Initialisation.lstm(3, 0).overrides() == ["model=lstm"]
    assert Initialisation.gru(-3).overrides() == ["model=gru"]
    numbers = measured(biases, runner, train=SMALL, lstm=[[3, 0]], gru=[-3], seeds=[1])
    runs = list(runner.folder.glob("runs/*"))
    sizes = [inner_parameters(RunDirectory(run).load_config()["model"]) for run in runs]
    assert max(sizes) <= 1.02 * min(sizes)
    assert len(runs) == len(numbers["bleu"]) == 6
    assert numbers["standard"] == ["LSTM, b_f = 3, b_o = 0", "GRU, b_z = -3"]
    assert len({losses[0] for losses in numbers["loss"].values()}) == 6
    assert biases.analyse(numbers).conclusion is None
    assert_draws(biases, numbers, 2)


def numbers_with(plain: float, note: float, paper: float, gru: float, seeds: int = 3) -> dict[str, Any]:
    bleu = {PLAIN: plain, NOTE: note, PAPER: paper, PLAIN_GRU: gru}
    noise = [-0.05, 0.0, 0.05][:seeds]
    return {
        "standard": [],
        "bleu": {one.name: [value + n * by for by in noise] for n, (one, value) in enumerate(bleu.items(), 1)},
        "loss": {one.name: [2.0] * seeds for one in bleu},
    }


@pytest.mark.parametrize(
    ("bleu", "seeds", "conclusion"),
    [
        ((20, 24.5, 20, 25), 3, "supported"),
        ((20, 30, 20, 25), 3, "supported"),  # better than the GRU is not behind it
        ((20, 22, 24.5, 25), 3, "not supported"),  # better, but 3 are left: it is the forget gate
        ((24.5, 24.2, 24.5, 25), 3, "not supported"),  # close, but it was as close before
        ((26, 27, 26, 25), 3, "not supported"),  # no gap to close
        ((20, 24, 20, 25), 1, None),
    ],
)
def test_closing_a_gap(bleu: tuple[float, float, float, float], seeds: int, conclusion: str | None) -> None:
    assert biases.analyse(numbers_with(*bleu, seeds)).conclusion == conclusion


def test_both_gates_are_tested() -> None:
    findings = biases.analyse(numbers_with(20, 20.1, 24.5, 25))
    assert findings.conclusion == "not supported"
    assert "The same test of b_f = 1: supported" in findings.reason
    assert "b_f = 1 (Jozefowicz et al. 2015) adds 4.5 BLEU and ends 0.5 behind the GRU" in text(findings)

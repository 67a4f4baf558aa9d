"""A network without a gate: the gate is gone, and the ranking follows from the losses."""

from typing import Any

import pytest

from s2s.data.batching import evaluation_batches
from s2s.data.corpus import Split
from s2s.lab import ablation
from s2s.lab.ablation import FULL, GATES, analyse, without
from s2s.lab.gates import count
from s2s.lab.runner import JobRunner
from s2s.models import count_parameters
from s2s.runs import load
from tests.lab.small import SMALL, assert_draws, measured, text

TEXT = Split("some", ["the man sees a dog .", "she runs"], ["der Mann sieht einen Hund .", "sie läuft"])


@pytest.mark.slow  # trains four networks
def test_each_network_lacks_its_gate(runner: JobRunner) -> None:
    numbers = measured(ablation, runner, train=SMALL, seeds=[1])
    runs = {run.config.model["name"]: run for run in (load(path, "cpu") for path in runner.folder.glob("runs/*"))}
    size = {name: count_parameters(run.model)[1] for name, run in runs.items()}
    # Weights of a gate for inputs, outputs and bias: 192 units in both directions of the encoder, with 16 inputs;
    # 256 units in the decoder, whose inputs are these and the context vector, h and c of both directions.
    gate_size = 2 * 192 * (16 + 192 + 1) + 256 * (16 + 4 * 192 + 256 + 1)
    for gate in GATES:
        run = runs[f"lstm_no_{gate}"]
        assert size["lstm"] - size[f"lstm_no_{gate}"] == gate_size
        counts = count(run.model, list(evaluation_batches(TEXT, run.tokenizer, 1000)))
        for layer, gates in counts.items():
            assert {g for g in GATES if sum(gates[g][:-1]) == 0} == {gate}, layer  # all its values are 1
    assert len({*(losses[0] for losses in numbers["loss"].values())}) == 4
    assert analyse(numbers).conclusion is None
    assert_draws(ablation, numbers, 2)


def numbers_with(lost: dict[str, list[float]]) -> dict[str, Any]:
    """Numbers of networks that lose this BLEU, and gain a tenth of it in loss."""
    full = [30.0, 32.0, 28.0][: len(lost["forget"])]
    bleu = {without(gate): [f - value for f, value in zip(full, lost[gate], strict=True)] for gate in GATES}
    loss = {without(gate): [2 + value / 10 for value in lost[gate]] for gate in GATES}
    return {"bleu": {FULL: full, **bleu}, "loss": {FULL: [2.0] * len(full), **loss}}


@pytest.mark.parametrize(
    ("lost", "conclusion"),
    [
        ({"forget": [9.0, 9.1, 9.2], "input": [5.0, 5.2, 5.1], "output": [1.0, 1.2, 1.1]}, "supported"),
        ({"forget": [5.0, 5.2, 5.1], "input": [9.0, 9.1, 9.2], "output": [1.0, 1.2, 1.1]}, "not supported"),
        ({"forget": [9.0, 9.1, 9.2], "input": [1.0, 1.3, 1.2], "output": [1.1, 1.2, 1.1]}, "inconclusive"),
        ({"forget": [9.0], "input": [5.0], "output": [1.0]}, None),
    ],
)
def test_the_conclusion_needs_all_three_orders(lost: dict[str, list[float]], conclusion: str | None) -> None:
    assert analyse(numbers_with(lost)).conclusion == conclusion


def test_differences_are_between_runs_of_a_seed() -> None:
    """Differences between seeds, far larger than the effect of a gate, do not count."""
    numbers = numbers_with({"forget": [0.9, 0.9, 0.9], "input": [0.5, 0.5, 0.5], "output": [0.1, 0.1, 0.1]})
    assert analyse(numbers).conclusion == "supported"
    assert "forget (0.9) > input (0.5) > output (0.1)" in text(analyse(numbers))
    assert "0.9 [0.9, 0.9]" in text(analyse(numbers))


def test_a_gate_without_effect_is_named() -> None:
    findings = analyse(numbers_with({"forget": [2.0], "input": [1.0], "output": [-0.5]}))
    assert "nothing is lost without the output gate" in text(findings)

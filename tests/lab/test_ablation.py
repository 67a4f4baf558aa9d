"""A network without a gate: the gate is gone, and the order follows from what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s2s.data.batching import evaluation_batches
from s2s.data.corpus import Split
from s2s.lab.ablation import FULL, GATES, Settings, draw, find, measure, without
from s2s.lab.gates import count
from s2s.models import count_parameters
from s2s.runs import Run, load
from tests.lab.translating import SMALL, said, small_bench, through_json

TEXT = Split("some", ["the man sees a dog .", "she runs"], ["der Mann sieht einen Hund .", "sie läuft"])


@pytest.mark.slow  # trains four networks
def test_each_network_lacks_its_gate(root: Path, tmp_path: Path) -> None:
    with small_bench(root, tmp_path) as bench:
        numbers = through_json(measure(Settings(SMALL, seeds=[1]), bench))
    runs = {run.config.model["name"]: run for run in map(_load, tmp_path.glob("runs/*"))}
    size = {name: count_parameters(run.model)[1] for name, run in runs.items()}
    # A gate has a row of weights for each input, each output and the bias: 192 cells in both directions of the encoder,
    # which reads 16 numbers, 256 in the decoder, which reads these and the encoding, h and c of both directions.
    of_gate = 2 * 192 * (16 + 192 + 1) + 256 * (16 + 4 * 192 + 256 + 1)
    for gate in GATES:
        run = runs[f"lstm_no_{gate}"]
        assert size["lstm"] - size[f"lstm_no_{gate}"] == of_gate
        counts = count(run.model, list(evaluation_batches(TEXT, run.tokenizer, 1000)))
        for layer, gates in counts.items():
            assert {g for g in GATES if sum(gates[g][:-1]) == 0} == {gate}, layer  # all its values are 1
    assert len({*(losses[0] for losses in numbers["loss"].values())}) == 4
    assert find(numbers).verdict is None
    for narrow in (False, True):
        assert len(draw(numbers, narrow).axes) == 2


def _load(path: Path) -> Run:
    return load(path, "cpu")


def numbers_with(lost: dict[str, list[float]]) -> dict[str, Any]:
    """Numbers of networks that lose so much BLEU, and gain a tenth of it in loss."""
    full = [30.0, 32.0, 28.0][: len(lost["forget"])]
    bleu = {without(gate): [f - value for f, value in zip(full, lost[gate], strict=True)] for gate in GATES}
    loss = {without(gate): [2 + value / 10 for value in lost[gate]] for gate in GATES}
    return {"bleu": {FULL: full, **bleu}, "loss": {FULL: [2.0] * len(full), **loss}}


@pytest.mark.parametrize(
    ("lost", "verdict"),
    [
        ({"forget": [9.0, 9.1, 9.2], "input": [5.0, 5.2, 5.1], "output": [1.0, 1.2, 1.1]}, "supported"),
        ({"forget": [5.0, 5.2, 5.1], "input": [9.0, 9.1, 9.2], "output": [1.0, 1.2, 1.1]}, "not supported"),
        ({"forget": [9.0, 9.1, 9.2], "input": [1.0, 1.3, 1.2], "output": [1.1, 1.2, 1.1]}, "not decided"),
        ({"forget": [9.0], "input": [5.0], "output": [1.0]}, None),
    ],
)
def test_the_verdict_needs_all_three_orders(lost: dict[str, list[float]], verdict: str | None) -> None:
    assert find(numbers_with(lost)).verdict == verdict


def test_differences_are_between_runs_of_a_seed() -> None:
    """The seeds' own ups and downs, far larger than what a gate is worth, do not count."""
    numbers = numbers_with({"forget": [0.9, 0.9, 0.9], "input": [0.5, 0.5, 0.5], "output": [0.1, 0.1, 0.1]})
    assert find(numbers).verdict == "supported"
    assert "forget (0.9) > input (0.5) > output (0.1)" in said(find(numbers))
    assert "0.9 [0.9, 0.9]" in said(find(numbers))


def test_a_gate_that_is_not_missed_is_named() -> None:
    found = find(numbers_with({"forget": [2.0], "input": [1.0], "output": [-0.5]}))
    assert "nothing is lost without the output gate" in said(found)

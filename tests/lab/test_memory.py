"""The memory tasks against answers worked out by hand, and what a cell needs to learn them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s.lab.bench import Bench
from s2s.lab.memory import EXPERIMENT, Budget, learn, span
from s2s.lab.tasks import SYMBOLS, TASKS, TOLERANCE
from s2s.schema import build

BUDGET = Budget(hidden=16, batch=32, updates=250, examples=300)


def test_first_symbol() -> None:
    x, wanted = TASKS["first symbol"].draw(50, 6, torch.Generator().manual_seed(1))
    assert x.shape == (50, 7, 2 * SYMBOLS)
    assert x.sum(dim=2).eq(1).all()
    assert x[:, 0].argmax(dim=1).equal(wanted)
    assert x[:, 1:, :SYMBOLS].eq(0).all()
    assert sorted(set(wanted.tolist())) == list(range(SYMBOLS))


def test_adding() -> None:
    x, wanted = TASKS["adding"].draw(200, 9, torch.Generator().manual_seed(1))
    for (numbers, marks), answer in zip(x.transpose(1, 2), wanted, strict=True):
        first, second = marks.nonzero().flatten().tolist()
        assert first < 4 <= second
        assert answer.item() == pytest.approx((numbers[first] + numbers[second]).item() / 2)


@pytest.mark.parametrize("name", list(TASKS))
def test_right_answers_and_chance(name: str) -> None:
    task = TASKS[name]
    _, wanted = task.draw(20_000, 4, torch.Generator().manual_seed(1))
    constant = torch.full((20_000, 1), 0.5) if name == "adding" else torch.eye(SYMBOLS)[[3]].expand(20_000, -1)
    assert task.right(constant, wanted).double().mean().item() == pytest.approx(task.chance, abs=0.01)
    perfect = wanted if name == "adding" else 9 * torch.eye(SYMBOLS)[wanted]
    assert task.right(perfect, wanted).all()
    assert task.loss(perfect, wanted) < task.solved
    if name == "adding":
        assert task.right(wanted + 0.9 * TOLERANCE, wanted).all()
        assert not task.right(wanted - 1.1 * TOLERANCE, wanted).any()


# Slow is what takes hundreds of updates over long sequences.
@pytest.mark.parametrize("name", ["first symbol", pytest.param("adding", marks=pytest.mark.slow)])
def test_an_lstm_carries_it_over_many_steps(name: str) -> None:
    budget = replace(BUDGET, updates=900) if name == "adding" else BUDGET
    found = learn(TASKS[name], "lstm", 0.01, 20, 1, budget)
    assert found["right"] > 0.9
    assert abs(found["right"] - found["chosen_by"]) < 0.1
    assert found["updates"] < budget.updates  # it was solved


@pytest.mark.slow
def test_a_plain_network_does_not() -> None:
    """At a delay that the LSTM learns with the same budget."""
    budget = replace(BUDGET, hidden=32, updates=400)
    rnn, lstm = (
        learn(TASKS["first symbol"], cell, rate, 60, 1, budget) for cell, rate in (("rnn", 0.003), ("lstm", 0.005))
    )
    assert rnn["right"] < 0.5
    assert lstm["right"] > 0.9


def test_the_better_of_two_rates_counts(tmp_path: Path) -> None:
    values: dict[str, Any] = {"cells": ["rnn", "lstm"], "lengths": [2, 4], "seeds": [1]}
    values |= {"budget": {"hidden": 16, "batch": 32, "updates": 150, "examples": 300}}
    values |= {"rates": {"rnn": [0.003], "lstm": [0.01, 0.0001]}}
    bench = Bench(tmp_path, lambda _: {}, lambda *_: {})
    numbers = json.loads(json.dumps(EXPERIMENT.measure(build(EXPERIMENT.settings, values), bench)))
    ((short, longer),) = numbers["tasks"]["first symbol"]["lstm"]
    assert short["rate"] == longer["rate"] == 0.01
    assert short["right"] > 0.95
    assert EXPERIMENT.find(numbers).verdict is None


def test_span() -> None:
    assert span([10, 20, 40], [0.99, 0.95, 0.5]) == 20
    assert span([10, 20, 40], [0.2, 0.95, 0.99]) == 0


def _numbers(rnn: float, lstm: list[float], soon: float = 1.0) -> dict[str, Any]:
    def runs(last: list[float]) -> list[list[dict[str, float]]]:
        return [[{"right": soon}, {"right": one}] for one in last]

    cells = {"rnn": runs([rnn] * len(lstm)), "lstm": runs(lstm)}
    return {"lengths": [10, 90], "updates": 5, "tasks": {"first symbol": cells, "adding": cells}}


def test_verdicts() -> None:
    assert EXPERIMENT.find(_numbers(0.2, [0.99])).verdict is None
    assert EXPERIMENT.find(_numbers(0.2, [0.99, 0.98, 0.99])).verdict == "supported"
    assert EXPERIMENT.find(_numbers(0.99, [0.2, 0.21, 0.2])).verdict == "not supported"
    assert EXPERIMENT.find(_numbers(0.2, [0.6, 0.61, 0.6])).verdict == "not supported", "better is not remembered"
    assert EXPERIMENT.find(_numbers(0.8, [0.99, 0.98, 0.99])).verdict == "not supported", "an RNN that remembers, too"
    assert EXPERIMENT.find(_numbers(0.2, [0.99, 0.98, 0.99], soon=0.2)).verdict == "not supported", "no memory at all"
    assert EXPERIMENT.find(_numbers(0.2, [0.2, 0.99, 0.98])).verdict == "not decided"
    assert "lstm up to 90" in EXPERIMENT.find(_numbers(0.2, [0.99])).sentences[0]

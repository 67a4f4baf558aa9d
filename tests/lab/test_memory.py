"""The memory tasks against answers worked out by hand, and training of cells on them."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from s2s.lab import memory
from s2s.lab.memory import Budget, learn, span
from s2s.lab.runner import JobRunner
from s2s.lab.tasks import SYMBOLS, TASKS, TOLERANCE
from tests.lab.small import measured

BUDGET = Budget(hidden=16, batch=32, updates=250, examples=300)


def test_first_symbol() -> None:
    x, target = TASKS["first symbol"].sample(50, 6, torch.Generator().manual_seed(1))
    assert x.shape == (50, 7, 2 * SYMBOLS)
    assert x.sum(dim=2).eq(1).all()
    assert x[:, 0].argmax(dim=1).equal(target)
    assert x[:, 1:, :SYMBOLS].eq(0).all()
    assert sorted(set(target.tolist())) == list(range(SYMBOLS))


def test_adding() -> None:
    x, target = TASKS["adding"].sample(200, 9, torch.Generator().manual_seed(1))
    for (numbers, marks), answer in zip(x.transpose(1, 2), target, strict=True):
        first, second = marks.nonzero().flatten().tolist()
        assert first < 4 <= second
        assert answer.item() == pytest.approx((numbers[first] + numbers[second]).item() / 2)


@pytest.mark.parametrize("name", list(TASKS))
def test_correct_answers_and_chance(name: str) -> None:
    task = TASKS[name]
    _, target = task.sample(20_000, 4, torch.Generator().manual_seed(1))
    constant = torch.full((20_000, 1), 0.5) if name == "adding" else torch.eye(SYMBOLS)[[3]].expand(20_000, -1)
    assert task.correct(constant, target).double().mean().item() == pytest.approx(task.chance, abs=0.01)
    perfect = target if name == "adding" else 9 * torch.eye(SYMBOLS)[target]
    assert task.correct(perfect, target).all()
    assert task.loss(perfect, target) < task.solved
    if name == "adding":
        assert task.correct(target + 0.9 * TOLERANCE, target).all()
        assert not task.correct(target - 1.1 * TOLERANCE, target).any()


# Slow: hundreds of updates over long sequences.
@pytest.mark.parametrize("name", ["first symbol", pytest.param("adding", marks=pytest.mark.slow)])
def test_an_lstm_remembers_over_many_steps(name: str) -> None:
    budget = replace(BUDGET, updates=900) if name == "adding" else BUDGET
    result = learn(TASKS[name], "lstm", 0.01, 20, 1, budget)
    assert result["right"] > 0.9
    assert abs(result["right"] - result["chosen_by"]) < 0.1
    assert result["updates"] < budget.updates  # it was solved


@pytest.mark.slow
def test_a_plain_rnn_does_not() -> None:
    """At a delay that the LSTM learns with the same budget."""
    budget = replace(BUDGET, hidden=32, updates=400)
    rnn, lstm = (
        learn(TASKS["first symbol"], cell, rate, 60, 1, budget) for cell, rate in (("rnn", 0.003), ("lstm", 0.005))
    )
    assert rnn["right"] < 0.5
    assert lstm["right"] > 0.9


@pytest.mark.slow
def test_the_better_of_two_rates_counts(runner: JobRunner) -> None:
    budget = {"hidden": 16, "batch": 32, "updates": 150, "examples": 300}
    rates = {"rnn": [0.003], "lstm": [0.01, 0.0001]}
    settings: dict[str, Any] = {"cells": ["rnn", "lstm"], "lengths": [2, 4], "budget": budget, "rates": rates}
    numbers = measured(memory, runner, **settings, seeds=[1])
    ((short, longer),) = numbers["tasks"]["first symbol"]["lstm"]
    assert short["rate"] == longer["rate"] == 0.01
    assert short["right"] > 0.95
    assert memory.analyse(numbers).conclusion is None


def test_span() -> None:
    assert span([10, 20, 40], [0.99, 0.95, 0.5]) == 20
    assert span([10, 20, 40], [0.2, 0.95, 0.99]) == 0


@pytest.mark.parametrize(
    ("rnn", "lstm", "shortest", "conclusion"),
    [
        (0.2, [0.99], 1.0, None),
        (0.2, [0.99, 0.98, 0.99], 1.0, "supported"),
        (0.99, [0.2, 0.21, 0.2], 1.0, "not supported"),
        (0.2, [0.6, 0.61, 0.6], 1.0, "not supported"),  # better than the RNN, but not solved
        (0.8, [0.99, 0.98, 0.99], 1.0, "not supported"),  # the RNN remembers, too
        (0.2, [0.99, 0.98, 0.99], 0.2, "not supported"),  # the RNN has no memory at all
        (0.2, [0.2, 0.99, 0.98], 1.0, "inconclusive"),
    ],
)
def test_conclusions(rnn: float, lstm: list[float], shortest: float, conclusion: str | None) -> None:
    last = {"rnn": [rnn] * len(lstm), "lstm": lstm}
    cells = {cell: [[{"right": shortest}, {"right": value}] for value in values] for cell, values in last.items()}
    numbers = {"lengths": [10, 90], "updates": 5, "tasks": {"first symbol": cells, "adding": cells}}
    findings = memory.analyse(numbers)
    assert findings.conclusion == conclusion
    if conclusion is None:
        assert "lstm up to 90" in findings.sentences[0]

"""Thresholds against their definitions and on a known surface, and their effect on a training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s2s.lab import clipping
from s2s.lab.tasks import TASKS
from s2s.lab.threshold_training import (
    Explosion,
    Vanishing,
    clipped,
    early_share,
    floored,
    raise_components,
    raise_norm,
    small_step_descends,
)


def _with_gradients(*values: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(row))) for row in values]
    for parameter, row in zip(parameters, values, strict=True):
        parameter.grad = torch.tensor(row)
    return parameters


def _flat_gradient(parameters: list[nn.Parameter]) -> list[float]:
    return [value for parameter in parameters if parameter.grad is not None for value in parameter.grad.tolist()]


def test_floors() -> None:
    parameters = _with_gradients([3.0, 0.0], [-4.0])
    raise_norm(parameters, 2.0)
    assert _flat_gradient(parameters) == [3.0, 0.0, -4.0]
    raise_norm(parameters, 10.0)
    assert _flat_gradient(parameters) == [6.0, 0.0, -8.0]
    raise_components(parameters, 7.0)
    assert _flat_gradient(parameters) == [7.0, 0.0, -8.0]


def test_a_small_step_descends_with_the_gradient_and_not_against_it() -> None:
    """On a steep bowl, where a step as long as the gradient would overshoot."""
    x = nn.Parameter(torch.tensor([1.0, -2.0]))

    def loss() -> Tensor:
        return 500 * x.square().sum()

    loss().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    raw_norm = x.grad.norm().item()
    assert small_step_descends([x], loss, raw_norm)
    x.grad.clamp_(-1, 1)
    assert small_step_descends([x], loss, raw_norm)
    x.grad.neg_()
    assert not small_step_descends([x], loss, raw_norm)
    assert x.tolist() == [1.0, -2.0]


def test_clipping_keeps_or_changes_the_direction_and_descends() -> None:
    explosion = Explosion(radius=1.5, delay=10, updates=80, lr=1.0, clip_norm=1.0, clip_value=0.01)
    none, norm, value = (clipped(method, 1, 32, 32, explosion) for method in ("none", "norm", "value"))
    assert abs(norm["cosine"] - 1) < 1e-5
    assert 0.2 < value["cosine"] < 0.95
    assert 0 == none["cut"] < min(norm["cut"], value["cut"])
    assert norm["descends"] > 0.95
    assert value["descends"] > 0.9
    assert none["longest"] > 5
    assert none["lowered"] < norm["lowered"]
    assert max(norm["loss"][-1][1], value["loss"][-1][1]) < 1 < none["loss"][-1][1]


@pytest.mark.slow  # trains a network three times
def test_a_floor_does_not_give_a_plain_rnn_a_memory() -> None:
    settings = Vanishing(radius=0.9, delay=30, updates=240, lr=0.3, clip_norm=1.0, floor_norm=1.0, floor_value=0.01)
    right = {way: floored(way, 1, 32, 32, 300, settings)["right"][-1][1] for way in ("norm", "value", "lstm")}
    assert right["lstm"] > 0.9
    assert right["norm"] < 0.6
    assert right["value"] < 0.6


def test_early_share_of_a_linear_network() -> None:
    """Tiny weights, so that the tanh is the identity: the gradient k steps back has k more factors W."""
    torch.manual_seed(1)
    task = TASKS["first symbol"]
    model = task.model("rnn", 6).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e-6)
        model.layer.cell.weight_hh.copy_(0.5 * torch.eye(6))  # type: ignore[operator]
    x, target = task.sample(8, 10, torch.Generator().manual_seed(1))
    assert abs(early_share(model, (x.double(), target)) / 0.5**10 - 1) < 1e-4


def _numbers(seeds: int, floor: float, lstm: float = 0.99, cosine: float = 0.7) -> dict[str, Any]:
    """Numbers in which the RNN with raised components reaches the accuracy `floor`."""
    shares = {"cut": 0.1, "descends": 0.99, "lowered": 0.9, "longest": 40.0}
    large = {"none": (2.0, 1.0), "norm": (0.1, 1.0), "value": (0.2, cosine)}
    curve = [[n, 0.1] for n in range(6)]
    right = {way: [*curve, [6, at], [7, at]] for way, at in (("none", 0.12), ("norm", 0.13), ("lstm", lstm))}
    right["value"] = [[1, floor]]
    return {
        "delay": 40,
        "clipped": {
            way: [{"loss": [[1, 2.0], [2, loss]], "cosine": cosine, **shares}] * seeds
            for way, (loss, cosine) in large.items()
        },
        "floored": {
            way: [{"right": right[way], "early": 1e-7, "early_trained": 1e-5}] * seeds
            for way in ("none", "norm", "value", "lstm")
        },
    }


@pytest.mark.parametrize(
    ("numbers", "conclusion", "parts"),
    [
        (_numbers(1, 0.14), None, []),
        (_numbers(3, 0.14), "supported", []),
        (_numbers(3, 0.97), "not supported", ["clipping: supported", "No cure by a floor: not supported"]),
        (_numbers(3, 0.14, lstm=0.5), "inconclusive", []),  # an LSTM that has not learnt
        (_numbers(3, 0.14, cosine=1.0), "inconclusive", []),  # a direction that does not change
    ],
)
def test_conclusions(numbers: dict[str, Any], conclusion: str | None, parts: list[str]) -> None:
    findings = clipping.analyse(numbers)
    assert findings.conclusion == conclusion
    assert all(part in findings.reason for part in parts)


def test_findings() -> None:
    findings = clipping.analyse(_numbers(1, 0.14))
    assert "RNN, no floor 1e-07 → 1e-05" in findings.sentences[3]
    assert findings.rows[-1][-1] == "99 %", "the last quarter of the curve"

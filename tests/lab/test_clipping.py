"""Thresholds against their definitions and on a surface that is known, and what they do to a training."""

import pytest
import torch
from torch import Tensor, nn

from s2s.lab.clipping import EXPERIMENT
from s2s.lab.tasks import TASKS, Reader
from s2s.lab.threshold_training import Explosion, Vanishing, clipped, early_share, floored
from s2s.lab.thresholds import flat_gradient, raise_components, raise_norm, small_step_descends


def _with_gradients(*values: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(row))) for row in values]
    for parameter, row in zip(parameters, values, strict=True):
        parameter.grad = torch.tensor(row)
    return parameters


def test_floors() -> None:
    parameters = _with_gradients([3.0, 0.0], [-4.0])
    raise_norm(parameters, 2.0)
    assert flat_gradient(parameters).tolist() == [3.0, 0.0, -4.0]
    raise_norm(parameters, 10.0)
    assert flat_gradient(parameters).tolist() == [6.0, 0.0, -8.0]
    raise_components(parameters, 7.0)
    assert flat_gradient(parameters).tolist() == [7.0, 0.0, -8.0]


def test_a_small_step_goes_down_with_the_gradient_and_up_against_it() -> None:
    """On a steep bowl, where a step as long as the gradient would climb the other side."""
    x = nn.Parameter(torch.tensor([1.0, -2.0]))

    def loss() -> Tensor:
        return 500 * x.square().sum()

    loss().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    raw = x.grad.norm().item()
    assert small_step_descends([x], loss, raw)
    x.grad.clamp_(-1, 1)
    assert small_step_descends([x], loss, raw)
    x.grad.neg_()
    assert not small_step_descends([x], loss, raw)
    assert x.tolist() == [1.0, -2.0]


EXPLOSION = Explosion(radius=1.5, delay=10, updates=80, lr=1.0, clip_norm=1.0, clip_value=0.01)


def test_clipping_keeps_or_turns_the_direction_and_goes_down() -> None:
    found = {way: clipped(way, 1, 32, 32, EXPLOSION) for way in ("none", "norm", "value")}
    assert abs(found["norm"]["cosine"] - 1) < 1e-5
    assert 0.2 < found["value"]["cosine"] < 0.95
    assert 0 == found["none"]["cut"] < min(found["norm"]["cut"], found["value"]["cut"])
    assert found["norm"]["descends"] > 0.95
    assert found["value"]["descends"] > 0.9
    assert found["none"]["longest"] > 5
    assert found["none"]["lowered"] < found["norm"]["lowered"]
    assert max(found[way]["loss"][-1][1] for way in ("norm", "value")) < 1 < found["none"]["loss"][-1][1]


@pytest.mark.slow  # trains a network twice
def test_a_floor_does_not_give_a_plain_network_a_memory() -> None:
    told = Vanishing(radius=0.9, delay=30, updates=240, lr=0.3, clip_norm=1.0, floor_norm=1.0, floor_value=0.01)
    right = {way: floored(way, 1, 32, 32, 300, told)["right"][-1][1] for way in ("norm", "value", "lstm")}
    assert right["lstm"] > 0.9
    assert right["norm"] < 0.6
    assert right["value"] < 0.6


def test_early_share_of_a_network_without_a_tanh_to_speak_of() -> None:
    """Tiny weights: the derivative by the input k steps back is that by the last one, k times through W."""
    torch.manual_seed(1)
    task = TASKS["first symbol"]
    model = Reader("rnn", task.inputs, 6, task.outputs).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e-6)
        model.layer.cell.weight_hh.copy_(0.5 * torch.eye(6))  # type: ignore[operator]
    x, wanted = task.draw(8, 10, torch.Generator().manual_seed(1))
    assert abs(early_share(model, (x.double(), wanted)) / 0.5**10 - 1) < 1e-4


def test_findings() -> None:
    def way(loss: float, cosine: float, right: float) -> tuple[dict[str, object], dict[str, object]]:
        share = {"cut": 0.1, "cosine": cosine, "descends": 0.99, "lowered": 0.9, "longest": 40.0}
        return {"loss": [[1, 2.0], [2, loss]], **share}, {
            "right": [[n, 0.1] for n in range(6)] + [[6, right], [7, right]],
            "early": 1e-7,
            "early_trained": 1e-5,
        }

    none, norm, value = way(2.0, 1.0, 0.12), way(0.1, 1.0, 0.13), way(0.2, 0.7, 0.14)
    ways = {"none": none, "norm": norm, "value": value}

    def numbers(seeds: int, floor: float, lstm: float = 0.99) -> dict[str, object]:
        ways["lstm"] = way(0.0, 1.0, lstm)
        small = {
            name: [one | {"right": [[1, floor]]} if name == "value" else one] * seeds for name, (_, one) in ways.items()
        }
        return {
            "delay": 40,
            "clipped": {name: [ways[name][0]] * seeds for name in ("none", "norm", "value")},
            "floored": small,
        }

    assert EXPERIMENT.find(numbers(1, 0.14)).verdict is None
    assert EXPERIMENT.find(numbers(3, 0.14)).verdict == "supported"
    cured = EXPERIMENT.find(numbers(3, 0.97))
    assert cured.verdict == "not supported"
    assert "clipping: supported" in cured.reason
    assert "No cure by a floor: not supported" in cured.reason
    assert EXPERIMENT.find(numbers(3, 0.14, lstm=0.5)).verdict == "not decided", "an LSTM that has not learnt"
    value[0]["cosine"] = 1.0
    assert EXPERIMENT.find(numbers(3, 0.14)).verdict == "not decided", "a direction that does not change"
    found = EXPERIMENT.find(numbers(1, 0.14))
    assert "RNN, no floor 1e-07 → 1e-05" in found.sentences[3]
    assert found.rows[-1][-1] == "99 %", "the last quarter of the curve"

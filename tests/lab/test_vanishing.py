"""Gradients through time against finite differences and against matrices with known powers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from s2s.lab import vanishing
from s2s.lab.runner import JobRunner
from s2s.lab.vanishing import gradient_norms, step_factor, with_radius
from tests.lab.small import measured

SIZE, TIME = 5, 9


def _rotation(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator))[0]  # type: ignore[no-any-return]


def _direction(sequences: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.nn.functional.normalize(torch.randn(sequences, SIZE, dtype=torch.float64, generator=generator), dim=1)


def test_equals_finite_differences() -> None:
    """The last state as a function of an earlier one, written out without the cell of s2s."""
    torch.manual_seed(1)
    weight, inputs = with_radius(torch.randn(SIZE, SIZE).double(), 1.3), 0.5 * torch.randn(1, TIME, SIZE).double()
    direction = _direction()
    states = [torch.zeros(SIZE, dtype=torch.float64)]
    for t in range(TIME):
        states.append(torch.tanh(weight @ states[-1] + inputs[0, t]))

    def last(state: Tensor, start: int) -> Tensor:
        for t in range(start, TIME):
            state = torch.tanh(weight @ state + inputs[0, t])
        return state @ direction[0]

    step, norms = 1e-6 * torch.eye(SIZE, dtype=torch.float64), []
    for k in range(TIME):
        state = states[TIME - k]
        differences = [last(state + one, TIME - k) - last(state - one, TIME - k) for one in step]
        norms.append(torch.stack(differences).norm().item() / 2e-6)
    assert gradient_norms(weight, inputs, direction) == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_a_scaled_rotation_gives_powers_of_its_radius(radius: float) -> None:
    """A rotation keeps norms, and with such small inputs the tanh is the identity."""
    inputs = 1e-9 * torch.ones(2, TIME, SIZE, dtype=torch.float64)
    norms = gradient_norms(radius * _rotation(1), inputs, _direction(2))
    assert norms == pytest.approx([radius**k for k in range(TIME)])
    assert step_factor(norms) == pytest.approx(radius)


def test_symmetric_matrices_end_with_their_largest_eigenvalue() -> None:
    basis, values = _rotation(2), torch.tensor([-0.9, 0.5, 0.3, 0.2, 0.1], dtype=torch.float64)
    inputs = torch.zeros(1, 80, SIZE, dtype=torch.float64)
    assert step_factor(gradient_norms(basis @ values.diag() @ basis.T, inputs, _direction())) == pytest.approx(0.9)


def test_a_saturated_network_does_not_explode() -> None:
    small, large = (torch.full((1, 30, SIZE), size, dtype=torch.float64) for size in (1e-9, 4.0))
    weight = 1.5 * _rotation(3)
    assert step_factor(gradient_norms(weight, small, _direction())) > 1.4
    assert step_factor(gradient_norms(weight, large, _direction())) < 1


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.0])
def test_radius(radius: float) -> None:
    torch.manual_seed(3)
    scaled = with_radius(torch.randn(7, 7).double(), radius)
    assert torch.linalg.eigvals(scaled).abs().max().item() == pytest.approx(radius)


def _measured(runner: JobRunner, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"hidden": 64, "distance": 40, "before": 20, "sequences": 4, "seeds": [1, 2, 3]}
    return measured(vanishing, runner, **(settings | {"radii": [0.8, 2.5], "inputs": [0.1, 2.0]} | changes))


def test_the_claim_on_random_networks(runner: JobRunner) -> None:
    numbers = _measured(runner)
    for runs in numbers["norms"].values():
        assert all(norms[0] == pytest.approx(1) and norms[-1] < 0.01 for norms in runs["0.8"])
    assert all(norms[-1] > 10 for norms in numbers["norms"]["0.1"]["2.5"])
    assert all(norms[-1] < 1 for norms in numbers["norms"]["2"]["2.5"])
    findings = vanishing.analyse(numbers)
    assert findings.conclusion == "supported"
    assert "Inputs of size 2" in findings.sentences[1]


@pytest.mark.parametrize(
    ("changes", "conclusion"),
    [
        ({"seeds": [1]}, None),
        ({"inputs": [2.0]}, "not supported"),  # no explosion
        ({"radii": [0.5, 0.8]}, "inconclusive"),  # no radius above 1
        ({"radii": [1.5, 2.5]}, "inconclusive"),  # no radius below 1
    ],
)
def test_conclusions(runner: JobRunner, changes: dict[str, Any], conclusion: str | None) -> None:
    assert vanishing.analyse(_measured(runner, **changes)).conclusion == conclusion


def test_the_start_of_a_sequence_has_no_effect(runner: JobRunner) -> None:
    """States start at 0, where the tanh is the identity: without steps before, the last factors are larger."""
    longer, shorter = (_measured(runner, before=before, radii=[1.5], inputs=[0.1]) for before in (60, 1))
    settled, starting = (numbers["norms"]["0.1"]["1.5"] for numbers in (longer, shorter))
    assert all(with_start[-1] > 2 * without[-1] for with_start, without in zip(starting, settled, strict=True))


@pytest.mark.parametrize(("left", "conclusion"), [(0.01, "supported"), (0.3, "not supported")])
def test_less_than_a_tenth_must_be_left(left: float, conclusion: str) -> None:
    runs = {"0.9": [[1.0, 0.5, left]] * 3, "2": [[1.0, 10.0, 100.0]] * 3}
    assert vanishing.analyse({"distance": 2, "norms": {"0.1": runs}}).conclusion == conclusion

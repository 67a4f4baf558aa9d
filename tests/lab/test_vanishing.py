"""Gradients through time against finite differences and against the powers of matrices whose powers are known."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from s2s.lab.bench import Bench
from s2s.lab.vanishing import EXPERIMENT, factor, gradient_norms, with_radius
from s2s.schema import build

SIZE, TIME = 5, 9


def _rotation(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator))[0]  # type: ignore[no-any-return]


def _direction(sequences: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.nn.functional.normalize(torch.randn(sequences, SIZE, dtype=torch.float64, generator=generator), dim=1)


def test_equals_finite_differences() -> None:
    """The last state as a function of an earlier one, written out without the product's cell."""
    torch.manual_seed(1)
    weight, driven = with_radius(torch.randn(SIZE, SIZE).double(), 1.3), 0.5 * torch.randn(1, TIME, SIZE).double()
    direction = _direction()
    states = [torch.zeros(SIZE, dtype=torch.float64)]
    for t in range(TIME):
        states.append(torch.tanh(weight @ states[-1] + driven[0, t]))

    def last(state: Tensor, start: int) -> Tensor:
        for t in range(start, TIME):
            state = torch.tanh(weight @ state + driven[0, t])
        return state @ direction[0]

    step, norms = 1e-6 * torch.eye(SIZE, dtype=torch.float64), []
    for k in range(TIME):
        state = states[TIME - k]
        differences = [last(state + one, TIME - k) - last(state - one, TIME - k) for one in step]
        norms.append(torch.stack(differences).norm().item() / 2e-6)
    assert gradient_norms(weight, driven, direction) == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_a_scaled_rotation_gives_powers_of_its_radius(radius: float) -> None:
    """It changes all lengths alike; inputs so small that the tanh is the identity."""
    driven = 1e-9 * torch.ones(2, TIME, SIZE, dtype=torch.float64)
    norms = gradient_norms(radius * _rotation(1), driven, _direction(2))
    assert norms == pytest.approx([radius**k for k in range(TIME)])
    assert factor(norms) == pytest.approx(radius)


def test_symmetric_matrices_end_with_their_largest_eigenvalue() -> None:
    basis, values = _rotation(2), torch.tensor([-0.9, 0.5, 0.3, 0.2, 0.1], dtype=torch.float64)
    driven = torch.zeros(1, 80, SIZE, dtype=torch.float64)
    assert factor(gradient_norms(basis @ values.diag() @ basis.T, driven, _direction())) == pytest.approx(0.9)


def test_a_saturated_network_does_not_explode() -> None:
    quiet, loud = (torch.full((1, 30, SIZE), size, dtype=torch.float64) for size in (1e-9, 4.0))
    weight = 1.5 * _rotation(3)
    assert factor(gradient_norms(weight, quiet, _direction())) > 1.4
    assert factor(gradient_norms(weight, loud, _direction())) < 1


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.0])
def test_radius(radius: float) -> None:
    torch.manual_seed(3)
    scaled = with_radius(torch.randn(7, 7).double(), radius)
    assert torch.linalg.eigvals(scaled).abs().max().item() == pytest.approx(radius)


def _measured(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"hidden": 64, "distance": 40, "before": 20, "sequences": 4, "seeds": [1, 2, 3]}
    values |= {"radii": [0.8, 2.5], "inputs": [0.1, 2.0]} | changes
    bench = Bench(tmp_path, lambda _: {}, lambda *_: {})
    numbers: dict[str, Any] = json.loads(json.dumps(EXPERIMENT.measure(build(EXPERIMENT.settings, values), bench)))
    return numbers


def test_the_claim_on_random_networks(tmp_path: Path) -> None:
    numbers = _measured(tmp_path)
    for runs in numbers["norms"].values():
        assert all(norms[0] == pytest.approx(1) and norms[-1] < 0.01 for norms in runs["0.8"])
    assert all(norms[-1] > 10 for norms in numbers["norms"]["0.1"]["2.5"])
    assert all(norms[-1] < 1 for norms in numbers["norms"]["2"]["2.5"])
    found = EXPERIMENT.find(numbers)
    assert found.verdict == "supported"
    assert "Inputs of size 2" in found.sentences[1]
    assert EXPERIMENT.find(_measured(tmp_path, seeds=[1])).verdict is None


def test_no_verdict_for_what_does_not_explode(tmp_path: Path) -> None:
    found = EXPERIMENT.find(_measured(tmp_path, inputs=[2.0]))
    assert found.verdict == "not supported"


@pytest.mark.parametrize("radii", [[0.5, 0.8], [1.5, 2.5]])
def test_no_verdict_from_one_side_alone(tmp_path: Path, radii: list[float]) -> None:
    assert EXPERIMENT.find(_measured(tmp_path, radii=radii)).verdict == "not decided"


def test_the_start_of_a_sequence_plays_no_part(tmp_path: Path) -> None:
    """States begin at 0, where the tanh takes nothing away: without steps before, the last factors are larger."""
    longer, shorter = (_measured(tmp_path, before=before, radii=[1.5], inputs=[0.1]) for before in (60, 1))
    settled, starting = (numbers["norms"]["0.1"]["1.5"] for numbers in (longer, shorter))
    assert all(with_start[-1] > 2 * without[-1] for with_start, without in zip(starting, settled, strict=True))


def test_less_than_a_tenth_must_be_lost() -> None:
    def numbers(below: float) -> dict[str, Any]:
        runs = {"0.9": [[1.0, 0.5, below]] * 3, "2": [[1.0, 10.0, 100.0]] * 3}
        return {"distance": 2, "norms": {"0.1": runs}}

    assert EXPERIMENT.find(numbers(0.01)).verdict == "supported"
    assert EXPERIMENT.find(numbers(0.3)).verdict == "not supported"

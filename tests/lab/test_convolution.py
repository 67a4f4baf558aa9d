"""The reach of stacks of causal blocks: against finite differences, and exactly the kernel's and the depth's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from s2s.lab import convolution as experiment
from s2s.lab.convolution import ATTENTION, RECURRENT, analyse, last_path, name_of, relative_influence
from s2s.lab.influence import jacobian_norms
from s2s.lab.language import BlockLanguageModel
from s2s.lab.runner import JobRunner
from s2s.schema import build
from tests.lab.small import assert_draws, measured, numerical_norms, text

MIXERS: dict[str, dict[str, Any]] = {
    "convolution": {"type": "convolution", "kernel": 3},
    "attention": {"type": "self_attention"},
    "recurrent": {"type": "recurrent", "cell": "gru"},
}


def model(mixer: str, layers: int = 2, positions: Any = "sinusoidal") -> BlockLanguageModel:
    torch.manual_seed(3)
    return BlockLanguageModel(MIXERS[mixer], 11, 8, layers, 2, positions).double()


@pytest.mark.parametrize("mixer", MIXERS)
def test_influence_equals_finite_differences(mixer: str) -> None:
    network = model(mixer)
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    last = lambda x: network.states(x, None)[:, -1]  # noqa: E731
    torch.testing.assert_close(jacobian_norms(last, 8, x), numerical_norms(last, x), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("kernel", "layers"), [(2, 1), (3, 2), (4, 3)])
def test_a_stack_of_convolutions_sees_kernel_times_depth(kernel: int, layers: int) -> None:
    network = BlockLanguageModel({"type": "convolution", "kernel": kernel}, 11, 8, layers, 2, "sinusoidal")
    shares = relative_influence(network, torch.randint(4, 11, (3, 14)))
    assert len(shares) == 13
    assert last_path(shares) == layers * (kernel - 1)
    assert all(share == 0 for share in shares[layers * (kernel - 1) + 1 :])


@pytest.mark.parametrize("mixer", ["attention", "recurrent"])
def test_others_see_everything(mixer: str) -> None:
    assert last_path(relative_influence(model(mixer), torch.randint(4, 11, (3, 14)))) == 12


@pytest.mark.slow
def test_from_text_to_a_picture(runner: JobRunner) -> None:
    numbers = measured(
        experiment, runner, text=["data=grammar", "data.train_pairs=60"], kernel=2, layers=[1, 2], distance=5, lines=2,
        size=8, batch_tokens=200, fit={"updates": 2, "lr": 0.01, "schedule": "cosine"}, seeds=[1],
    )  # fmt: skip
    assert numbers["reaches"] == {name_of(1): 1, name_of(2): 2}
    assert list(numbers["networks"]) == [name_of(1), name_of(2), RECURRENT, ATTENTION]
    assert "exactly 0 beyond, trained or not: convolution, 1 layer after 1 steps" in text(analyse(numbers))
    assert analyse(numbers).conclusion is None
    assert_draws(experiment, numbers, 2)


def made_up(convolution: list[float], recurrent: list[float], attention: float) -> dict[str, Any]:
    run = lambda shares: [{"before": shares, "after": shares, "perplexity": 9.0}] * 3  # noqa: E731
    return {
        "distance": 3,
        "reaches": {name_of(1): 1},
        "networks": {
            name_of(1): run(convolution),
            RECURRENT: run(recurrent),
            ATTENTION: [
                {"before": [1.0] * 4, "after": [1.0, 0.5, 0.5, attention + seed / 1e4], "perplexity": 9.0}
                for seed in range(3)
            ],
        },
    }


@pytest.mark.parametrize(
    ("convolution", "recurrent", "attention", "conclusion"),
    [
        ([1.0, 0.5, 0.0, 0.0], [1.0, 0.1, 0.01, 1e-9], 0.2, "supported"),
        ([1.0, 0.5, 1e-12, 0.0], [1.0, 0.1, 0.01, 1e-9], 0.2, "not supported"),
        ([1.0, 0.5, 0.0, 0.0], [1.0, 0.1, 0.01, 0.0], 0.2, "not supported"),
        ([1.0, 0.5, 0.0, 0.0], [1.0, 0.1, 0.01, 1e-9], 1e-5, "not supported"),
    ],
)
def test_the_conclusion(convolution: list[float], recurrent: list[float], attention: float, conclusion: str) -> None:
    assert analyse(made_up(convolution, recurrent, attention)).conclusion == conclusion


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"distance": 8}, "distance=8 must be more than the reach 8"),
        ({"kernel": 1}, "kernel=1 sees nothing but one input"),
        ({"layers": [4]}, "layers must be two or more"),
        ({"size": 50}, "size=50 is not a multiple of 4"),
    ],
)
def test_settings(changes: dict[str, Any], error: str, root: Path) -> None:
    quick = OmegaConf.to_container(OmegaConf.load(root / "conf" / "lab" / "convolution.yaml").quick)
    errors = experiment.check(build(experiment.Settings, {**quick, **changes}))  # type: ignore[dict-item]
    assert any(error in one for one in errors)

"""Four systems of equal parameters, and the conclusion on made-up numbers."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from s2s.lab import gpt
from s2s.lab.gpt import ONE, ONE_LSTM, TWO, TWO_LSTM, Settings, analyse, systems
from s2s.lab.runner import JobRunner
from s2s.lab.translation import inner_parameters
from s2s.schema import build
from tests.lab.small import SMALL, assert_draws, measured, text

NAMES = [TWO, ONE, TWO_LSTM, ONE_LSTM]


@pytest.mark.parametrize("size", ["quick", "full"])
def test_all_systems_have_as_many_parameters(size: str, runner: JobRunner, root: Any) -> None:
    section = OmegaConf.load(root / "conf" / "lab" / "gpt.yaml")[size]
    settings = build(Settings, OmegaConf.to_container(section))
    models = {
        name: runner.compose([*settings.training, *overrides])["model"]
        for name, overrides in systems(settings, runner).items()
    }
    assert list(models) == NAMES
    assert [("encoder" in model, model["decoder"]["mixer"]["type"]) for model in models.values()] == [
        *((True, "self_attention"), (False, "self_attention")),
        *((True, "recurrent"), (False, "recurrent")),
    ]
    parameters = [inner_parameters(model) for model in models.values()]
    assert max(parameters) < 1.01 * min(parameters)


@pytest.mark.slow  # trains four networks
def test_from_text_to_a_picture(runner: JobRunner) -> None:
    training = [one for one in SMALL if "evaluation" not in one]
    numbers = measured(gpt, runner, bins=[9, 18], layers=1, training=training, seeds=[1])
    assert list(numbers["bleu"]) == list(numbers["parameters"]) == NAMES
    assert all(len(run) == 2 for runs in numbers["by_length"].values() for run in runs)
    findings = analyse(numbers)
    assert findings.conclusion is None, "one seed"
    assert [row[0] for row in findings.rows] == NAMES
    assert_draws(gpt, numbers, 1)


def made_up(one: float, one_lstm: float, seeds: int) -> dict[str, Any]:
    scores = {TWO: 50.0, ONE: one, TWO_LSTM: 45.0, ONE_LSTM: one_lstm}
    by_seed = {name: [score + seed / 10 for seed in range(seeds)] for name, score in scores.items()}
    return {
        "bins": [[1, 5, 50], [6, 10, 50]],
        "by_length": {name: [[score, score - 10] for score in of] for name, of in by_seed.items()},
        "bleu": by_seed,
        "parameters": dict.fromkeys(NAMES, 1_000_000),
    }


@pytest.mark.parametrize(
    ("one", "seeds", "conclusion"),
    [(48.0, 3, "supported"), (40.0, 3, "not supported"), (45.0, 3, "inconclusive"), (48.0, 1, None)],
)
def test_findings(one: float, seeds: int, conclusion: str | None) -> None:
    findings = analyse(made_up(one, 20.0, seeds))
    assert findings.conclusion == conclusion
    assert "costs the model of LSTMs 25.0 BLEU at 1–5 words and 25.0 at 6–10 words" in text(findings)

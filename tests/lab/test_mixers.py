"""Nine systems of equal parameters, and the conclusion on made-up numbers. Nothing here asserts on time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from s2s.lab import mixers
from s2s.lab.mixers import ATTENTION, MIXERS, analyse, name_of, systems
from s2s.lab.runner import JobRunner
from s2s.lab.translation import inner_parameters
from tests.lab.small import SMALL, assert_draws, measured, text

NAMES = [name_of(encoder, decoder) for encoder in MIXERS for decoder in MIXERS]
TINY = ["model=transformer", "model.encoder.layers=1", "model.decoder.layers=1"]


@pytest.mark.slow  # composes many configurations
@pytest.mark.parametrize("size", ["quick", "full"])
def test_all_systems_have_as_many_parameters(size: str, runner: JobRunner, root: Path) -> None:
    training = OmegaConf.load(root / "conf" / "lab" / "mixers.yaml")[size].training
    parameters = {
        name: inner_parameters(runner.compose([*training, *overrides])["model"])
        for name, overrides in systems(runner, list(training)).items()
    }
    assert list(parameters) == NAMES
    assert max(parameters.values()) < 1.01 * min(parameters.values())


@pytest.mark.slow  # trains nine networks
def test_from_text_to_a_picture(runner: JobRunner) -> None:
    training = [one for one in SMALL if "evaluation" not in one] + TINY
    numbers = measured(mixers, runner, bins=[9, 18], training=training, sentences=3, rounds=1, seeds=[1])
    assert list(numbers["bleu"]) == list(numbers["seconds"]) == NAMES
    assert all(len(run) == 2 for runs in numbers["by_length"].values() for run in runs)
    assert all(seconds > 0 for runs in numbers["seconds"].values() for seconds in runs)
    findings = analyse(numbers)
    assert findings.conclusion is None, "one seed"
    assert [row[0] for row in findings.rows] == NAMES
    assert "with the best other mixer in the decoder alone" in text(findings)
    assert_draws(mixers, numbers, 3)


def made_up(seeds: int, **scores: float) -> dict[str, Any]:
    """Numbers of systems with 50 BLEU, but for those of the encoder or decoder without self-attention."""
    bleu = dict.fromkeys(NAMES, 40.0) | {name_of(ATTENTION, ATTENTION): 50.0}
    for other in MIXERS:
        if other != ATTENTION:
            bleu |= {name_of(other, ATTENTION): scores["encoder"], name_of(ATTENTION, other): scores["decoder"]}
    by_seed = {name: [score + seed / 10 for seed in range(seeds)] for name, score in bleu.items()}
    return {
        "bins": [[1, 5, 50], [6, 10, 50]],
        "by_length": {name: [[score, score] for score in of] for name, of in by_seed.items()},
        "bleu": by_seed,
        "parameters": dict.fromkeys(NAMES, 1_000_000),
        "seconds": {name: [1.0 if name.endswith(ATTENTION) else 0.5] * seeds for name in NAMES},
        "machine": "abacus",
    }


@pytest.mark.parametrize(
    ("encoder", "decoder", "seeds", "conclusion"),
    [
        (45.0, 45.0, 3, "supported"),
        (45.0, 51.0, 3, "not supported"),  # Domhan 2018
        (51.0, 45.0, 3, "not supported"),
        (45.0, 45.0, 1, None),
    ],
)
def test_findings(encoder: float, decoder: float, seeds: int, conclusion: str | None) -> None:
    findings = analyse(made_up(seeds, encoder=encoder, decoder=decoder))
    assert findings.conclusion == conclusion
    assert "2.00 times as fast as the Transformer (one thread of abacus)" in text(findings)
    if conclusion is not None:
        assert "in the encoder" in findings.reason

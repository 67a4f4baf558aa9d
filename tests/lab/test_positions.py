"""Beyond the training length: tiny models that learn to copy, and the verdict on made-up numbers.

Slow is the test in which three models learn to copy.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from s2s.errors import S2SError
from s2s.lab import positions
from s2s.lab.positions import RECURRENT, ROTARY, SINUSOIDAL, Settings
from tests.lab.copying import copying, tiny_bench

SYSTEMS = [SINUSOIDAL, ROTARY, RECURRENT]


@pytest.mark.slow  # trains three networks
def test_training_ends_at_the_limit_and_the_test_does_not(tmp_path: Path) -> None:
    training = copying(tmp_path, 4, 7, 2)
    with tiny_bench(tmp_path) as bench:
        numbers = positions.measure(Settings(limit=5, bins=[5, 7], training=training, seeds=[1]), bench)
    assert numbers["bins"] == [[1, 5, 50], [6, 7, 50]]
    assert {name: [len(bleu) for bleu in of] for name, of in numbers["bleu"].items()} == {name: [2] for name in SYSTEMS}
    runs = {path.parent: OmegaConf.load(path) for path in tmp_path.glob("bench/runs/*/config.yaml")}
    limits = [json.loads((run / "corpus.json").read_text())["training_limit"] for run in runs]
    assert limits == [5, 5, 5]
    kinds = [model.encoder.get("positions", "recurrent") for model in (config.model for config in runs.values())]
    assert sorted(kinds) == ["recurrent", "rotary", "sinusoidal"]
    found = positions.find(numbers)
    assert found.verdict is None, "one seed"
    assert [row[0] for row in found.rows] == SYSTEMS


@pytest.mark.slow
def test_all_copy_what_is_as_long_as_in_training_and_sinusoidal_positions_nothing_longer(tmp_path: Path) -> None:
    layers = ("model.encoder.layers=2", "model.decoder.layers=2")
    training = copying(tmp_path, 4, 12, 300, *layers)
    with tiny_bench(tmp_path) as bench:
        numbers = positions.measure(Settings(limit=6, bins=[6, 12], training=training, seeds=[1]), bench)
    assert [one[:2] for one in numbers["bins"]] == [[1, 6], [7, 12]]
    for system, (bleu,) in numbers["bleu"].items():
        assert bleu[0] > 80, f"{system} has not learnt to copy: {bleu}"
    assert positions.kept(numbers, SINUSOIDAL)[0] < 0.6


@pytest.mark.slow  # trains three networks
def test_there_must_be_sentences_to_compare(tmp_path: Path) -> None:
    training = copying(tmp_path, 4, 6, 1)
    with tiny_bench(tmp_path) as bench, pytest.raises(S2SError, match="no test sentence has 7 to 12 words"):
        positions.measure(Settings(limit=6, bins=[6, 12], training=training, seeds=[1]), bench)


def made_up(sinusoidal: float, rotary: float, recurrent: float, seeds: int) -> dict[str, object]:
    """Numbers of systems that keep these shares of their BLEU, with a little noise by seed."""
    kept = {SINUSOIDAL: sinusoidal, ROTARY: rotary, RECURRENT: recurrent}
    return {
        "limit": 10,
        "bins": [[1, 10, 50], [11, 20, 50], [21, 30, 50]],
        "bleu": {name: [[80.0, 80 * share + seed / 10, 1.0] for seed in range(seeds)] for name, share in kept.items()},
        "ratio": {name: [[1.0, share, 0.1]] * seeds for name, share in kept.items()},
    }


def test_what_follows_from_the_numbers() -> None:
    gone = positions.find(made_up(0.95, 0.99, 0.97, 3))
    assert gone.verdict == "supported"
    assert "none of them" in " ".join(gone.sentences)
    there = positions.find(made_up(0.2, 0.95, 0.97, 3))
    assert there.verdict == "supported", "the note speaks of attention between recurrent networks"
    told = " ".join(there.sentences)
    assert "one of them" in told
    assert "75 points more" in told
    assert f"loss of: {SINUSOIDAL} " in told
    assert positions.find(made_up(0.95, 0.99, 0.9, 3)).verdict == "not decided"
    assert positions.find(made_up(0.95, 0.99, 0.6, 3)).verdict == "not supported"
    assert positions.find(made_up(0.95, 0.99, 0.97, 1)).verdict is None

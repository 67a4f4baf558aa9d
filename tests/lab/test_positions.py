"""Length extrapolation: tiny models that learn to copy, and the conclusion on made-up numbers."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from s2s.errors import S2SError
from s2s.lab import positions
from s2s.lab.positions import READ, RECURRENT, ROTARY, SINUSOIDAL
from s2s.lab.runner import JobRunner
from tests.lab.small import copy_task, measured, text

SYSTEMS = [SINUSOIDAL, ROTARY, READ, RECURRENT]


@pytest.mark.slow  # trains four networks
def test_training_ends_at_the_limit_and_the_test_does_not(runner: JobRunner, tmp_path: Path) -> None:
    numbers = measured(positions, runner, limit=5, bins=[5, 7], training=copy_task(tmp_path, 4, 7, 2), seeds=[1])
    assert numbers["bins"] == [[1, 5, 50], [6, 7, 50]]
    assert {name: [len(bleu) for bleu in of] for name, of in numbers["bleu"].items()} == {name: [2] for name in SYSTEMS}
    runs = {path.parent: OmegaConf.load(path) for path in runner.folder.glob("runs/*/config.yaml")}
    limits = [json.loads((run / "corpus.json").read_text())["training_limit"] for run in runs]
    assert limits == [5, 5, 5, 5]
    kinds = [config.model.encoder.get("positions", "lstm") for config in runs.values()]
    assert sorted(kinds) == ["lstm", "recurrent", "rotary", "sinusoidal"]
    findings = positions.analyse(numbers)
    assert findings.conclusion is None, "one seed"
    assert [row[0] for row in findings.rows] == SYSTEMS


@pytest.mark.slow  # two networks learn
def test_both_copy_within_the_training_lengths_and_sinusoidal_positions_not_beyond(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "SYSTEMS", {name: positions.SYSTEMS[name] for name in (SINUSOIDAL, READ)})
    training = copy_task(tmp_path, 3, 10, 200, "model.encoder.layers=2", "model.decoder.layers=2")
    numbers = measured(positions, runner, limit=5, bins=[5, 10], training=training, seeds=[1])
    assert [one[:2] for one in numbers["bins"]] == [[1, 5], [6, 10]]
    for system, (bleu,) in numbers["bleu"].items():
        assert bleu[0] > 80, f"{system} has not learnt to copy: {bleu}"
    assert positions.kept(numbers, SINUSOIDAL)[0] < 0.6


@pytest.mark.slow  # trains four networks
def test_there_must_be_sentences_to_compare(runner: JobRunner, tmp_path: Path) -> None:
    with pytest.raises(S2SError, match="no test sentence has 7 to 12 words"):
        measured(positions, runner, limit=6, bins=[6, 12], training=copy_task(tmp_path, 4, 6, 1), seeds=[1])


def made_up(sinusoidal: float, rotary: float, recurrent: float, seeds: int) -> dict[str, object]:
    """Numbers of systems that keep these shares of their BLEU, with a little noise by seed."""
    kept = {SINUSOIDAL: sinusoidal, ROTARY: rotary, READ: 0.97, RECURRENT: recurrent}
    return {
        "limit": 10,
        "bins": [[1, 10, 50], [11, 20, 50], [21, 30, 50]],
        "bleu": {name: [[80.0, 80 * share + seed / 10, 1.0] for seed in range(seeds)] for name, share in kept.items()},
        "ratio": {name: [[1.0, share, 0.1]] * seeds for name, share in kept.items()},
    }


@pytest.mark.parametrize(
    ("shares", "seeds", "conclusion", "sentences"),
    [
        ((0.95, 0.99, 0.97), 3, "supported", ["none of them"]),
        # The note speaks of attention between recurrent networks.
        (
            (0.2, 0.95, 0.97),
            3,
            "supported",
            ["one of them", "75 points more of it and recurrent ones keep 77 points more", f"loss of: {SINUSOIDAL} "],
        ),
        ((0.95, 0.99, 0.9), 3, "inconclusive", []),
        ((0.95, 0.99, 0.6), 3, "not supported", []),
        ((0.95, 0.99, 0.97), 1, None, []),
    ],
)
def test_findings(shares: tuple[float, float, float], seeds: int, conclusion: str | None, sentences: list[str]) -> None:
    findings = positions.analyse(made_up(*shares, seeds))
    assert findings.conclusion == conclusion
    assert all(sentence in text(findings) for sentence in sentences)

"""The bottleneck: tiny models that learn to copy, the break against curves by hand, and the conclusion."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from s2s.lab import bottleneck
from s2s.lab.bottleneck import WITH, WITHOUT, Breaks, break_length, levels, rank_correlation
from s2s.lab.runner import JobRunner
from tests.lab.small import copy_task, measured, text


@pytest.mark.slow  # trains four networks
def test_encoder_and_decoder_have_the_size(runner: JobRunner, tmp_path: Path) -> None:
    numbers = measured(bottleneck, runner, sizes=[8, 16], bins=[4, 5], training=copy_task(tmp_path, 4, 5, 2), seeds=[1])
    models = [OmegaConf.load(path).model for path in runner.folder.glob("runs/*/config.yaml")]
    sizes = [(model.decoder.attention.type, model.encoder.hidden_size, model.decoder.hidden_size) for model in models]
    assert sorted(sizes) == [("bahdanau", 8, 8), ("bahdanau", 16, 16), ("fixed", 8, 8), ("fixed", 16, 16)]
    assert numbers["bins"] == [[1, 4, 25], [5, 5, 25]]
    assert {name: list(of) for name, of in numbers["bleu"].items()} == {WITHOUT: ["8", "16"], WITH: ["8", "16"]}
    assert bottleneck.analyse(numbers).conclusion is None, "one seed"


@pytest.mark.slow  # four models learn
def test_the_break_moves_with_the_size_of_the_state_and_is_gone_with_attention(
    runner: JobRunner, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"sizes": [16, 32], "bins": [5, 7, 9, 11], "training": copy_task(tmp_path, 4, 11, 350)}
    numbers = measured(bottleneck, runner, **settings, seeds=[1])
    small, large = Breaks(numbers, WITHOUT).by_seed()[0]
    assert large > small
    attending = Breaks(numbers, WITH)
    assert attending.never["32"]
    assert attending.by_seed()[0][1] > large


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([80, 60, 20, 10], 15.0),  # 40 is halfway between 60 and 20
        ([80, 40, 20, 10], 10.0),
        ([80, 79, 78, 41], None),
        ([39, 20, 10, 5], 5.0),  # never above: it breaks at once
        ([80, 0, 0, 0], 7.5),
    ],
)
def test_break(scores: list[float], expected: float | None) -> None:
    assert break_length([5, 10, 20, 30], scores, 40) == expected


def test_rank_correlation() -> None:
    assert rank_correlation([1, 2, 5]) == pytest.approx(1)
    assert rank_correlation([5, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([3, 3, 3]) == 0
    assert rank_correlation([1, 3, 2]) == pytest.approx(1 - 6 * 2 / (3 * 8))  # 1 - 6 Σd² / (n (n² - 1))
    assert rank_correlation([1, 2, 2]) == pytest.approx(0.75**0.5)


def made_up(breaks: dict[str, list[float]], seeds: int = 3) -> dict[str, Any]:
    """Numbers of systems of sizes 1, 2, 4 with BLEU falling from 80 through 40 at these lengths."""

    def curve(at: float, seed: int) -> list[float]:
        falls = [80 - 40 * 10 * n / (at + seed / 10 - 5) for n in range(4)]
        return [max(0.0, min(80.0, value)) for value in falls]

    return {
        "bins": [[1 + 10 * n, 10 * n + 9, 50] for n in range(4)],  # centers 5, 15, 25, 35
        "bleu": {
            system: {size: [curve(at, seed) for seed in range(seeds)] for size, at in zip("124", ats, strict=True)}
            for system, ats in breaks.items()
        },
    }


@pytest.mark.parametrize(
    ("without", "attending", "seeds", "conclusion", "sentences"),
    [
        ([10, 15, 20], [90, 90, 90], 3, "supported", ["20.1 [19.9, 20.3] words with 4 units", "at any size"]),
        ([20, 15, 10], [90, 90, 90], 3, "not supported", []),
        ([10, 15, 20], [8, 8, 8], 3, "not supported", []),
        ([70, 80, 90], [900] * 3, 3, "not supported", []),  # a rank correlation of breaks beyond the lengths
        ([10, 15, 20], [30] * 3, 3, "supported", ["it breaks too"]),
        ([10, 15, 20], [90] * 3, 2, None, []),
    ],
)
def test_findings(
    without: list[float], attending: list[float], seeds: int, conclusion: str | None, sentences: list[str]
) -> None:
    findings = bottleneck.analyse(made_up({WITHOUT: without, WITH: attending}, seeds))
    assert findings.conclusion == conclusion
    assert all(sentence in text(findings) for sentence in sentences)


def curves(without: list[list[float]], attending: list[float]) -> dict[str, Any]:
    """Numbers of sizes 1, 2, 4: BLEU by length without attention for each, and with attention for all; three seeds."""
    return {
        "bins": [[1 + 10 * n, 10 * n + 9, 50] for n in range(4)],  # centers 5, 15, 25, 35
        "bleu": {
            WITHOUT: {size: [curve] * 3 for size, curve in zip("124", without, strict=True)},
            WITH: {size: [attending] * 3 for size in "124"},
        },
    }


FALLS = [[80.0, 40.0, 10.0, 10.0], [80.0, 60.0, 20.0, 10.0], [80.0, 70.0, 50.0, 30.0]]


@pytest.mark.parametrize(
    ("without", "attending", "conclusion"),
    [
        (FALLS, [80, 80, 80, 70], "supported"),
        ([*FALLS[:2], [80, 80, 80, 81]], [80, 80, 80, 80], "not supported"),  # does not fall at the largest size
        (FALLS, [80, 80, 80, 5], "not supported"),  # falls as much with attention, if later
        (FALLS, [80, 30, 30, 30], "not supported"),  # breaks sooner with attention, if it falls less
        (FALLS[::-1], [80, 80, 80, 70], "not supported"),  # the larger, the sooner
    ],
)
def test_each_part_of_the_claim_counts(without: list[list[float]], attending: list[float], conclusion: str) -> None:
    assert bottleneck.analyse(curves(without, attending)).conclusion == conclusion


@pytest.mark.parametrize(
    ("without", "ending", "proportion"),
    [
        ([FALLS[0], FALLS[0], FALLS[1]], "by a factor of 1.3:", True),
        ([FALLS[0], FALLS[1], [80.0, 79.0, 78.0, 77.0]], "by a factor of 2.3 or more.", False),
        ([[80.0, 79.0, 78.0, 77.0]] * 3, "by a factor of 1.0, within the measured lengths.", False),
    ],
)
def test_from_bounds_only_bounds_follow(without: list[list[float]], ending: str, proportion: bool) -> None:
    sentence = bottleneck.analyse(curves(without, [80, 80, 80, 80])).sentences[1]
    assert ending in sentence
    assert ("not in proportion" in sentence) == proportion


def test_one_level_for_all_networks_of_a_seed() -> None:
    numbers = curves([[30, 25, 20, 20], *FALLS[1:]], [90, 90, 90, 90])
    assert levels(numbers) == [45, 45, 45]
    assert Breaks(numbers, WITHOUT).text("1").startswith("at most 5.0"), "it was never above half of the best"

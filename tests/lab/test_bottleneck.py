"""The bottleneck: tiny models that learn to copy, the break against curves by hand, and the verdict.

Slow is the test in which four models learn to copy.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from s2s.lab import bottleneck
from s2s.lab.bottleneck import WITH, WITHOUT, Breaks, Settings, break_length, levels, rank_correlation
from tests.lab.copying import copying, tiny_bench


def test_encoder_and_decoder_have_the_size(tmp_path: Path) -> None:
    training = copying(tmp_path, 4, 5, 2)
    with tiny_bench(tmp_path) as bench:
        numbers = bottleneck.measure(Settings(sizes=[8, 16], bins=[4, 5], training=training, seeds=[1]), bench)
    models = [OmegaConf.load(path).model for path in tmp_path.glob("bench/runs/*/config.yaml")]
    sizes = [(model.decoder.attention.type, model.encoder.hidden_size, model.decoder.hidden_size) for model in models]
    assert sorted(sizes) == [("bahdanau", 8, 8), ("bahdanau", 16, 16), ("fixed", 8, 8), ("fixed", 16, 16)]
    assert numbers["bins"] == [[1, 4, 25], [5, 5, 25]]
    assert {name: list(of) for name, of in numbers["bleu"].items()} == {WITHOUT: ["8", "16"], WITH: ["8", "16"]}
    assert bottleneck.find(numbers).verdict is None, "one seed"


@pytest.mark.slow
def test_the_break_moves_with_the_size_of_the_state_and_is_gone_with_attention(tmp_path: Path) -> None:
    training = copying(tmp_path, 4, 11, 350)
    with tiny_bench(tmp_path) as bench:
        numbers = bottleneck.measure(Settings(sizes=[16, 32], bins=[5, 7, 9, 11], training=training, seeds=[1]), bench)
    small, large = Breaks(numbers, WITHOUT).by_seed()[0]
    assert large > small
    attending = Breaks(numbers, WITH)
    assert attending.never["32"]
    assert attending.by_seed()[0][1] > large


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([80, 60, 20, 10], 15.0),  # 40 is half way between 60 and 20
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


def made_up(breaks: dict[str, list[float]], seeds: int = 3) -> dict[str, object]:
    """Numbers of systems of sizes 1, 2, 4 whose BLEU falls from 80 through 40 at these lengths."""

    def curve(at: float, seed: int) -> list[float]:
        falls = [80 - 40 * 10 * n / (at + seed / 10 - 5) for n in range(4)]
        return [max(0.0, min(80.0, value)) for value in falls]

    return {
        "bins": [[1 + 10 * n, 10 * n + 9, 50] for n in range(4)],  # middles 5, 15, 25, 35
        "bleu": {
            system: {
                str(size): [curve(at, seed) for seed in range(seeds)] for size, at in zip((1, 2, 4), ats, strict=True)
            }
            for system, ats in breaks.items()
        },
    }


def test_what_follows_from_the_numbers() -> None:
    moving = bottleneck.find(made_up({WITHOUT: [10, 15, 20], WITH: [90, 90, 90]}))
    assert moving.verdict == "supported"
    told = " ".join(moving.sentences)
    assert "20.1 [19.9, 20.3] words with 4 units" in told
    assert "at any size" in told
    assert bottleneck.find(made_up({WITHOUT: [20, 15, 10], WITH: [90, 90, 90]})).verdict == "not supported"
    assert bottleneck.find(made_up({WITHOUT: [10, 15, 20], WITH: [8, 8, 8]})).verdict == "not supported"
    level = bottleneck.find(made_up({WITHOUT: [70, 80, 90], WITH: [900] * 3}))
    assert level.verdict == "not supported", "a rank correlation of breaks that are not there"
    assert "it breaks too" in " ".join(bottleneck.find(made_up({WITHOUT: [10, 15, 20], WITH: [30] * 3})).sentences)
    assert bottleneck.find(made_up({WITHOUT: [10, 15, 20], WITH: [90] * 3}, seeds=2)).verdict is None


def told(without: list[list[float]], attending: list[float]) -> dict[str, object]:
    """Numbers of sizes 1, 2, 4: BLEU by length without attention for each, and with attention for all; three seeds."""
    return {
        "bins": [[1 + 10 * n, 10 * n + 9, 50] for n in range(4)],  # middles 5, 15, 25, 35
        "bleu": {
            WITHOUT: {size: [curve] * 3 for size, curve in zip("124", without, strict=True)},
            WITH: {size: [attending] * 3 for size in "124"},
        },
    }


FALLS = [[80.0, 40.0, 10.0, 10.0], [80.0, 60.0, 20.0, 10.0], [80.0, 70.0, 50.0, 30.0]]


@pytest.mark.parametrize(
    ("without", "attending", "verdict"),
    [
        (FALLS, [80, 80, 80, 70], "supported"),
        ([*FALLS[:2], [80, 80, 80, 81]], [80, 80, 80, 80], "not supported"),  # does not fall at the largest size
        (FALLS, [80, 80, 80, 5], "not supported"),  # falls as much with attention, if later
        (FALLS, [80, 30, 30, 30], "not supported"),  # breaks sooner with attention, if it falls less
        (FALLS[::-1], [80, 80, 80, 70], "not supported"),  # the larger, the sooner
    ],
)
def test_each_part_of_the_claim_is_asked(without: list[list[float]], attending: list[float], verdict: str) -> None:
    assert bottleneck.find(told(without, attending)).verdict == verdict


@pytest.mark.parametrize(
    ("without", "told_of_it", "proportion"),
    [
        ([FALLS[0], FALLS[0], FALLS[1]], "by a factor of 1.3:", True),
        ([FALLS[0], FALLS[1], [80.0, 79.0, 78.0, 77.0]], "by a factor of 2.3 or more.", False),
        ([[80.0, 79.0, 78.0, 77.0]] * 3, "by a factor of 1.0, as far as lengths were measured.", False),
    ],
)
def test_from_bounds_no_more_follows_than_bounds(without: list[list[float]], told_of_it: str, proportion: bool) -> None:
    text = bottleneck.find(told(without, [80, 80, 80, 80])).sentences[1]
    assert told_of_it in text
    assert ("not in proportion" in text) == proportion


def test_one_level_for_all_networks_of_a_seed() -> None:
    numbers = told([[30, 25, 20, 20], *FALLS[1:]], [90, 90, 90, 90])
    assert levels(numbers) == [45, 45, 45]
    assert Breaks(numbers, WITHOUT).text("1").startswith("at most 5.0"), "it never was above half of the best"

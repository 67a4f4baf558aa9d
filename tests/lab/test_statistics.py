"""Means over seeds against Student's density itself, and conclusions."""

import math

import numpy as np
import pytest

from s2s.lab.statistics import Mean, above, all_of, below, differences, mean_over_seeds


@pytest.mark.parametrize("count", range(2, 32))
def test_the_interval_holds_95_percent_of_students_density(count: int) -> None:
    values = [float(value) for value in range(count)]
    mean = mean_over_seeds(values)
    error = np.std(values, ddof=1) / math.sqrt(count)
    t, freedom = (mean.mean - mean.low) / error, count - 1
    grid = np.linspace(0, t, 200_001)
    scale = math.gamma(count / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    density = scale * (1 + grid**2 / freedom) ** (-count / 2)
    assert 2 * np.trapezoid(density, grid) == pytest.approx(0.95, abs=2e-4)


def test_one_seed_has_no_interval_and_is_inconclusive() -> None:
    assert mean_over_seeds([3.0]) == (3.0, -math.inf, math.inf)
    assert above(mean_over_seeds([3.0])) == "inconclusive"


def test_differences_are_paired_by_seed() -> None:
    # Seeds that shift both alike cancel in the difference.
    assert differences([1.0, 5.0, 9.0], [0.0, 4.0, 8.0]) == (1.0, 1.0, 1.0)


def test_conclusions() -> None:
    assert above(Mean(2, 1, 3)) == "supported"
    assert above(Mean(2, 1, 3), by=1.5) == "inconclusive"
    assert above(Mean(-2, -3, -1)) == "not supported"
    assert below(Mean(2, 1, 3), 4) == "supported"
    assert below(Mean(2, 1, 3), 2.5) == "inconclusive"
    assert below(Mean(2, 1, 3), 0.5) == "not supported"
    assert below(Mean(2), 4) == "inconclusive"
    assert all_of(["supported", "inconclusive"]) == "inconclusive"
    assert all_of(["inconclusive", "not supported"]) == "not supported"
    assert all_of(["supported", "supported"]) == "supported"
    assert all_of([]) == "inconclusive"


def test_text() -> None:
    assert Mean(1.25, 1.0, 1.5).text(2) == "1.25 [1.00, 1.50]"
    assert Mean(1.25).text() == "1.2"


def test_a_share_ends_at_0_and_100() -> None:
    assert mean_over_seeds([90.0, 100.0, 100.0]).percent() == "97 [82, 100] %"
    assert mean_over_seeds([0.0, 1.0, 0.0]).percent(1) == "0.3 [0.0, 1.8] %"
    assert mean_over_seeds([97.0]).percent() == "97 %"

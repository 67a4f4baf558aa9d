"""Means over seeds with Student's t intervals, and the conclusions that rest on them.

Seeds are few, so an interval is mean ± t · s / √n, with the 95 % quantile t for n - 1 degrees of freedom.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from s2s.lab.experiment import Conclusion

# Two-sided 95 % quantiles of Student's t by degrees of freedom (any table of it).
_T = [
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
]
MIN_SEEDS = 3  # for a conclusion


class Mean(NamedTuple):
    """A mean over seeds with its interval, from -∞ to ∞ for a single seed."""

    mean: float
    low: float = -math.inf
    high: float = math.inf

    def text(self, digits: int = 1) -> str:
        """`12.3 [11.9, 12.7]`."""
        interval = f" [{self.low:.{digits}f}, {self.high:.{digits}f}]" if math.isfinite(self.low) else ""
        return f"{self.mean:.{digits}f}{interval}"

    def percent(self, digits: int = 0) -> str:
        """`97 [93, 100] %` of a share in percent."""
        return f"{self.share().text(digits)} %"

    def share(self) -> Mean:
        """The mean of a share in percent, with its interval clipped to [0, 100]."""
        return Mean(self.mean, max(0.0, self.low), min(100.0, self.high)) if math.isfinite(self.low) else self

    def scaled(self, factor: float) -> Mean:
        return Mean(*(factor * value for value in self))


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """The mean of one value per seed, with Student's 95 % interval; from 32 values on it is a little too wide."""
    mean = statistics.fmean(values)
    freedom = len(values) - 1
    if freedom < 1:
        return Mean(mean)
    half = _T[min(freedom, len(_T)) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half)


def means_over_seeds(seeds: Sequence[Sequence[float]]) -> list[Mean]:
    """Means of curves point by point; a curve per seed."""
    return [mean_over_seeds(values) for values in zip(*seeds, strict=True)]


def differences(a: Sequence[float], b: Sequence[float]) -> Mean:
    """The mean of a - b, paired by seed."""
    return mean_over_seeds([x - y for x, y in zip(a, b, strict=True)])


def above(difference: Mean, by: float = 0.0) -> Conclusion:
    """Whether the difference is more than `by`; inconclusive if its interval contains `by`."""
    return "supported" if difference.low > by else "not supported" if difference.high < by else "inconclusive"


def below(value: Mean, limit: float) -> Conclusion:
    """Whether the value is less than a limit; inconclusive if its interval contains the limit."""
    return "supported" if value.high < limit else "not supported" if value.low > limit else "inconclusive"


def all_of(conclusions: Sequence[Conclusion]) -> Conclusion:
    """The conclusion on a conjunction: not supported if one part is not; inconclusive without any part."""
    if "not supported" in conclusions:
        return "not supported"
    return "supported" if conclusions and set(conclusions) == {"supported"} else "inconclusive"

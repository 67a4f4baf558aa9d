"""Means over seeds with their intervals, and verdicts that rest on them.

Seeds are few, so intervals are Student's: mean ± t · s / √n, with t of n - 1 degrees of freedom at 95 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from s2s.lab.experiment import Verdict

# Two-sided 95 % quantiles of Student's t by degrees of freedom (any table of it).
_T = [
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
]
SEEDS_FOR_A_VERDICT = 3


class Mean(NamedTuple):
    """A mean over seeds; `low` and `high` are None for one seed alone."""

    mean: float
    low: float | None
    high: float | None

    def text(self, digits: int = 1) -> str:
        """`12.3 [11.9, 12.7]`."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.mean:.{digits}f}{interval}"

    def percent(self, digits: int = 0) -> str:
        """`97 [93, 100] %` of a share in percent."""
        return f"{self.share().text(digits)} %"

    def share(self) -> Mean:
        """The same of a share in percent: Student's interval ends where a share does."""
        if self.low is None or self.high is None:
            return self
        return Mean(self.mean, max(0.0, self.low), min(100.0, self.high))


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """The mean of one value for each seed, with Student's 95 % interval; from 32 values on a little wider."""
    mean = statistics.fmean(values)
    freedom = len(values) - 1
    if freedom < 1:
        return Mean(mean, None, None)
    half = _T[min(freedom, len(_T)) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half)


def differences(a: Sequence[float], b: Sequence[float]) -> Mean:
    """a - b, paired by seed."""
    return mean_over_seeds([one - other for one, other in zip(a, b, strict=True)])


def above(difference: Mean, by: float = 0.0) -> Verdict:
    """Is the difference more than `by`? Not decided where its interval holds `by`."""
    if difference.low is None or difference.high is None:
        return "not decided"
    return "supported" if difference.low > by else "not supported" if difference.high < by else "not decided"


def below(value: Mean, limit: float) -> Verdict:
    """Is the value less than a limit? Not decided where its interval holds the limit."""
    low, high = (None if end is None else -end for end in (value.high, value.low))
    return above(Mean(-value.mean, low, high), -limit)


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """A claim of several parts: supported if all parts are, not supported if one is not, not decided without any."""
    if "not supported" in verdicts:
        return "not supported"
    return "supported" if verdicts and all(verdict == "supported" for verdict in verdicts) else "not decided"

"""Paired comparison of two systems on the same sentences: difference, bootstrap interval and p-value.

Both systems are scored on the *same* bootstrap resamples, which removes the difficulty of the sentences from their
difference. The p-value is that of sacrebleu's paired approximate randomisation (Riezler & Maxwell 2005): each trial
swaps the two outputs of every sentence with probability ½, and p = (n + 1) / (trials + 1) for n trials whose difference
is at least the observed one. The random numbers are sacrebleu's, so p equals the one that `sacrebleu --paired-ar`
prints. It takes a fraction of the time, as the sums over swapped sentences are matrix multiplications with sufficient
statistics, computed once per system instead of once per pair.

The score of a model trained with several seeds is the mean over its trainings, which are all swapped together.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2s.config import EvaluationConfig
from s2s.errors import S2SError
from s2s.evaluation.bleu import CorpusStatistics, TranslationStatistics, resamples
from s2s.evaluation.by_length import Indices, bin_label, bin_members, mean, percentiles
from s2s.evaluation.test_set import TestSet

TRIALS = 10_000  # sacrebleu's default
_AT_ONCE = 4_000_000  # numbers held in memory: trials × sentences


@dataclass(frozen=True)
class Difference:
    """Score of system A minus that of system B on the same sentences, with the paired bootstrap interval."""

    min: int
    max: int | None
    sentences: int
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None

    @property
    def label(self) -> str:
        return bin_label(self.min, self.max)


@dataclass(frozen=True)
class BaselineDifference:
    """Score of a system minus that of a baseline on the whole test set, in one metric."""

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None  # None without sentences, 1 where the difference is exactly 0


@dataclass(frozen=True)
class PairwiseDifferences:
    """Differences of all ordered pairs of systems."""

    differences: dict[tuple[str, str], dict[str, BaselineDifference]]  # by (system, baseline) and metric
    tests: dict[str, str]  # by metric, sacrebleu's signature of the significance test


def differences_by_length(
    a: Sequence[CorpusStatistics], b: Sequence[CorpusStatistics], test: TestSet
) -> list[Difference]:
    """Returns the scores of A minus those of B in each bin of source length.

    Args:
        a, b: statistics of each training of the two systems.
    """
    bins = bin_members(test.sources, test.source_language, test.config.bins)
    return [_difference(*members, a, b, test.config) for members in bins]


def whole_difference(
    a: Sequence[CorpusStatistics], b: Sequence[CorpusStatistics], config: EvaluationConfig
) -> Difference:
    """Returns the score of A minus that of B on the whole test set; arguments as for `differences_by_length`."""
    return _difference(0, None, np.arange(len(a[0].counts)), a, b, config)


def pairwise_differences(
    systems: Mapping[str, Sequence[TranslationStatistics]],
    config: EvaluationConfig,
    significance: ApproximateRandomization,
) -> PairwiseDifferences:
    """Returns BLEU and chrF++ of every system minus those of every other one.

    Args:
        systems: by name, the statistics of the translations of each training.
    """
    result = PairwiseDifferences({pair: {} for pair in itertools.permutations(systems, 2)}, {})
    sentences = np.arange(significance.sentences)
    for metric in ("bleu", "chrf"):
        statistics = {name: [getattr(one, metric) for one in trainings] for name, trainings in systems.items()}
        scores = {name: _scores(one, sentences, config) for name, one in statistics.items()}
        for a, b in itertools.combinations(systems, 2):
            p_value = significance.p_value(statistics[a], statistics[b])
            for one, other in ((a, b), (b, a)):
                interval = _difference_interval(scores[one], scores[other], config)
                result.differences[one, other][metric] = BaselineDifference(*interval, p_value)
        result.tests[metric] = significance.signature(next(iter(statistics.values()))[0])
    return result


class ApproximateRandomization:
    """sacrebleu's paired approximate randomisation test, with the same random numbers for all pairs of systems.

    Args:
        sentences: of the test set.
        trials: number of random swaps.

    Raises:
        S2SError: SACREBLEU_SEED, which sacrebleu also reads, is not a seed.
    """

    def __init__(self, sentences: int, trials: int = TRIALS) -> None:
        self.sentences, self.trials = sentences, trials
        self.seed = os.environ.get("SACREBLEU_SEED", "12345")  # sacrebleu's default
        if not (self.seed.lower() == "none" or self.seed.isdecimal()):
            raise S2SError(f"SACREBLEU_SEED={self.seed} in the environment must be a whole number or None")
        generator = np.random.default_rng(None if self.seed.lower() == "none" else int(self.seed))
        self._in_first = generator.integers(2, size=(trials, sentences), dtype=bool)  # sentences of the first system
        self._sums: dict[CorpusStatistics, NDArray[np.float64]] = {}

    def signature(self, statistics: CorpusStatistics) -> str:
        """Returns sacrebleu's signature of the test with the metric of these statistics."""
        signature = statistics.metric.get_signature()
        signature.update("seed", self.seed.lower())
        signature.update("ar", self.trials)
        return str(signature)

    def p_value(self, a: Sequence[CorpusStatistics], b: Sequence[CorpusStatistics]) -> float | None:
        """Returns the probability of so large a difference by chance; None without sentences, 1 for no difference.

        Args:
            a, b: statistics of each training of the two systems, which have the same number of trainings.
        """
        if not self.sentences:
            return None
        sentences, pairs = np.arange(self.sentences), list(zip(a, b, strict=True))
        gap = abs(mean([_mean_score([one], sentences) - _mean_score([other], sentences) for one, other in pairs]))
        if gap == 0:  # sacrebleu counts the trials that *exceed* the difference, and here none does
            return 1.0
        swapped = mean([self._swapped_differences(one, other) for one, other in pairs])
        return float(((np.abs(swapped) > gap).sum() + 1) / (self.trials + 1))

    def _swapped_differences(self, a: CorpusStatistics, b: CorpusStatistics) -> NDArray[np.float64]:
        """(trials,) differences after the swaps; counts are whole numbers, so their sums are exact."""
        both = a.counts.sum(0) + b.counts.sum(0)
        first = self._sums_of_first(a) + b.counts.sum(0) - self._sums_of_first(b)
        swapped: NDArray[np.float64] = a.scores_of_sums(first) - b.scores_of_sums(both - first)
        return swapped

    def _sums_of_first(self, statistics: CorpusStatistics) -> NDArray[np.float64]:
        """(trials, C) sums of the counts over the sentences that each trial assigns to the first system."""
        if statistics not in self._sums:
            rows = max(1, _AT_ONCE // self.sentences)
            self._sums[statistics] = np.concatenate(
                [
                    self._in_first[n : n + rows].astype(np.float64) @ statistics.counts
                    for n in range(0, self.trials, rows)
                ]
            )
        return self._sums[statistics]


def _difference(
    low: int,
    high: int | None,
    sentences: Indices,
    a: Sequence[CorpusStatistics],
    b: Sequence[CorpusStatistics],
    config: EvaluationConfig,
) -> Difference:
    if not len(sentences):
        return Difference(low, high, 0, None, None, None, None, None)
    scores_a, scores_b = _scores(a, sentences, config), _scores(b, sentences, config)
    interval = _difference_interval(scores_a, scores_b, config)
    return Difference(low, high, len(sentences), scores_a[0], scores_b[0], *interval)


def _mean_score(trainings: Sequence[CorpusStatistics], sentences: Indices) -> float:
    """Mean score of the trainings on these sentences; NaN without sentences."""
    scores = [one.score(sentences) for one in trainings]
    return float("nan") if scores[0] is None else float(mean(scores))


def _scores(
    trainings: Sequence[CorpusStatistics], sentences: Indices, config: EvaluationConfig
) -> tuple[float, NDArray[np.float64]]:
    """Mean score of the trainings, and their mean scores (R,) on resamples, which depend on the sentence count only."""
    draws = resamples(len(sentences), config.bootstrap, config.seed) if len(sentences) > 1 else []
    means = [mean([one.scores(draw, sentences) for one in trainings]) for draw in draws]
    return _mean_score(trainings, sentences), np.concatenate(means) if means else np.zeros(0)


def _difference_interval(
    a: tuple[float, NDArray[np.float64]], b: tuple[float, NDArray[np.float64]], config: EvaluationConfig
) -> tuple[float | None, float | None, float | None]:
    """Difference of two `_scores` with the ends of its interval."""
    (score_a, resampled_a), (score_b, resampled_b) = a, b
    if np.isnan(score_a - score_b):
        return None, None, None
    ends = percentiles(resampled_a - resampled_b, config.confidence) if len(resampled_a) else (None, None)
    return score_a - score_b, *ends

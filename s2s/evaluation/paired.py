"""Two systems on the same sentences: the difference of their scores, its interval, and whether it may be chance.

Both systems are scored on the *same* bootstrap resamples, which removes the difficulty of the sentences from their
difference. The p-value is sacrebleu's paired approximate randomisation (Riezler & Maxwell 2005): in each trial the two
outputs of every sentence change places with probability ½; p is how often the scores then differ by more than they do.
The same random numbers as sacrebleu's are drawn, so p is the one that `sacrebleu --paired-ar` prints, in a fraction of
the time: sums over the swapped sentences are products with counts that are there already, once for each system and not
for each pair.

Where a model was trained several times, its score is the mean over its trainings, and all change places at once.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from s2s.config import EvaluationConfig
from s2s.errors import S2SError
from s2s.evaluation.bleu import CorpusCounts, Counted, bleu_counts, count, resamples
from s2s.evaluation.by_length import (
    Indices,
    bin_label,
    check_lengths,
    describe_intervals,
    mean,
    members_of_bins,
    percentiles,
    tokenizer_of,
)

TRIALS = 10_000  # sacrebleu's default
_AT_ONCE = 4_000_000  # numbers held in memory: trials × sentences


@dataclass(frozen=True)
class Difference:
    """The score of system A minus that of system B on the same sentences, with the paired bootstrap interval."""

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
class Paired:
    """BLEU of two systems compared on one test set."""

    corpus: Difference
    by_length: list[Difference]  # of the source
    p_value: float | None  # of the corpus difference; None for no sentence, 1 where it is exactly 0
    test: str  # what made the p-value: sacrebleu's signature
    intervals: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Against:
    """A system minus a baseline on the whole test set, in one metric."""

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None


@dataclass(frozen=True)
class EveryPair:
    """All systems against all others.

    Attributes:
        found: by (system, baseline) and metric.
        tests: by metric, the signature of the test that made the p-values.
    """

    found: dict[tuple[str, str], dict[str, Against]]
    tests: dict[str, str]


def paired(
    sources: Sequence[str],
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    references: Sequence[str],
    *,
    source_language: str,
    target_language: str,
    config: EvaluationConfig,
    trials: int = TRIALS,
) -> Paired:
    """BLEU of A minus BLEU of B, by source length and on the whole set.

    Args:
        trials: of the test that makes the p-value.

    Raises:
        S2SError: as `s2s.evaluation.by_length.report`.
    """
    check_lengths(sources, hypotheses_a, references)
    check_lengths(sources, hypotheses_b, references)
    tokenize = tokenizer_of(target_language, config)
    a, b = ([count(one, references, tokenize)] for one in (hypotheses_a, hypotheses_b))
    return compare_counts(a, b, sources, source_language, config, Randomization(len(sources), trials))


def compare_counts(
    a: Sequence[Counted],
    b: Sequence[Counted],
    sources: Sequence[str],
    language: str,
    config: EvaluationConfig,
    test: Randomization,
) -> Paired:
    """As `paired`, of systems whose translations (one of each training) are counted already."""
    bleu_a, bleu_b = [one.bleu for one in a], [one.bleu for one in b]
    by_length = [
        _difference(low, high, chosen, bleu_a, bleu_b, config)
        for (low, high), chosen in members_of_bins(sources, language, config.bins)
    ]
    corpus = _difference(0, None, np.arange(len(sources)), bleu_a, bleu_b, config)
    return Paired(
        corpus,
        by_length,
        test.p_value(bleu_a, bleu_b),
        test.signature(bleu_a[0]),
        describe_intervals("paired bootstrap over sentences", config),
    )


def difference(
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    references: Sequence[str],
    *,
    target_language: str,
    config: EvaluationConfig,
) -> tuple[Difference, str, str]:
    """BLEU of A minus BLEU of B on the whole set, sacrebleu's signature, and what the interval is.

    Raises:
        S2SError: as `s2s.evaluation.by_length.report`.
    """
    check_lengths(hypotheses_b, hypotheses_a, references)
    tokenize = tokenizer_of(target_language, config)
    a, b = bleu_counts(hypotheses_a, references, tokenize), bleu_counts(hypotheses_b, references, tokenize)
    whole = _difference(0, None, np.arange(len(references)), [a], [b], config)
    return whole, a.signature, describe_intervals("paired bootstrap over sentences", config)


def every_pair(systems: Mapping[str, Sequence[Counted]], config: EvaluationConfig, test: Randomization) -> EveryPair:
    """BLEU and chrF++ of every system minus those of every other one.

    Args:
        systems: by name, the counts of the translations of each training.
    """
    found: dict[tuple[str, str], dict[str, Against]] = {pair: {} for pair in itertools.permutations(systems, 2)}
    tests: dict[str, str] = {}
    metrics: tuple[Literal["bleu", "chrf"], ...] = ("bleu", "chrf")
    for metric in metrics:
        counts = {name: [getattr(one, metric) for one in members] for name, members in systems.items()}
        everything = np.arange(test.sentences)
        scores = {name: _score(members, everything) for name, members in counts.items()}
        drawn = {name: _resampled(members, everything, config) for name, members in counts.items()}
        for a, b in itertools.combinations(systems, 2):
            p_value = test.p_value(counts[a], counts[b])
            for one, other in ((a, b), (b, a)):
                found[one, other][metric] = Against(
                    *_gap(scores[one], scores[other], drawn[one], drawn[other], config), p_value
                )
        tests[metric] = test.signature(next(iter(counts.values()))[0])
    return EveryPair(found, tests)


class Randomization:
    """sacrebleu's paired approximate randomisation, its random numbers drawn once for all pairs.

    Args:
        sentences: of the test set.
        trials: how often sentences change places.

    Raises:
        S2SError: SACREBLEU_SEED, which sacrebleu reads as well, is no seed.
    """

    def __init__(self, sentences: int, trials: int = TRIALS) -> None:
        self.sentences, self.trials = sentences, trials
        self.seed = os.environ.get("SACREBLEU_SEED", "12345")  # as sacrebleu has it
        if not (self.seed.lower() == "none" or self.seed.isdecimal()):
            raise S2SError(f"SACREBLEU_SEED={self.seed} in the environment must be a whole number or None")
        generator = np.random.default_rng(None if self.seed.lower() == "none" else int(self.seed))
        self._first = generator.integers(2, size=(trials, sentences), dtype=bool)  # who is the first of the two
        self._sums: dict[CorpusCounts, NDArray[np.float64]] = {}

    def signature(self, counts: CorpusCounts) -> str:
        """sacrebleu's of the test, with the metric of these counts."""
        signature = counts.metric.get_signature()
        signature.update("seed", self.seed.lower())
        signature.update("ar", self.trials)
        return str(signature)

    def p_value(self, a: Sequence[CorpusCounts], b: Sequence[CorpusCounts]) -> float | None:
        """How likely so large a difference is by chance; None for no sentence, 1 where there is no difference.

        Args:
            a, b: the counts of each training of two systems, as many of the one as of the other.
        """
        if not self.sentences:
            return None
        everything, pairs = np.arange(self.sentences), list(zip(a, b, strict=True))
        gap = abs(mean([_score([one], everything) - _score([other], everything) for one, other in pairs]))
        if gap == 0:  # sacrebleu counts the trials that *exceed* the difference: none do when the systems are the same
            return 1.0
        swapped = mean([self._swapped(one, other) for one, other in pairs])
        return float(((np.abs(swapped) > gap).sum() + 1) / (self.trials + 1))

    def _swapped(self, a: CorpusCounts, b: CorpusCounts) -> NDArray[np.float64]:
        """(trials,) what the difference is after the swaps; counts are whole numbers, so their sums are exact."""
        both = a.counts.sum(0) + b.counts.sum(0)
        first = self._of_first(a) + b.counts.sum(0) - self._of_first(b)
        swapped: NDArray[np.float64] = a.scores_of_sums(first) - b.scores_of_sums(both - first)
        return swapped

    def _of_first(self, counts: CorpusCounts) -> NDArray[np.float64]:
        """(trials, C) sums over the sentences that are with the first of the two."""
        if counts not in self._sums:
            rows = max(1, _AT_ONCE // self.sentences)
            parts = [self._first[n : n + rows].astype(np.float64) @ counts.counts for n in range(0, self.trials, rows)]
            self._sums[counts] = np.concatenate(parts)
        return self._sums[counts]


def _difference(
    low: int,
    high: int | None,
    chosen: Indices,
    a: Sequence[CorpusCounts],
    b: Sequence[CorpusCounts],
    config: EvaluationConfig,
) -> Difference:
    if not len(chosen):
        return Difference(low, high, 0, None, None, None, None, None)
    of_a, of_b = _score(a, chosen), _score(b, chosen)
    gap = _gap(of_a, of_b, _resampled(a, chosen, config), _resampled(b, chosen, config), config)
    return Difference(low, high, len(chosen), of_a, of_b, *gap)


def _score(members: Sequence[CorpusCounts], chosen: Indices) -> float:
    """The mean score of the trainings on these sentences; not a number for no sentence."""
    scores = [one.score(chosen) for one in members]
    return float("nan") if scores[0] is None else float(mean(scores))


def _resampled(members: Sequence[CorpusCounts], chosen: Indices, config: EvaluationConfig) -> NDArray[np.float64]:
    """(R,) mean scores of the trainings on resamples; the draws depend on the number of sentences only."""
    draws = resamples(len(chosen), config.bootstrap, config.seed) if len(chosen) > 1 else []
    means = [mean([one.scores(drawn, chosen) for one in members]) for drawn in draws]
    return np.concatenate(means) if means else np.zeros(0)


def _gap(
    a: float, b: float, drawn_a: NDArray[np.float64], drawn_b: NDArray[np.float64], config: EvaluationConfig
) -> tuple[float | None, float | None, float | None]:
    """The difference and the ends of its interval."""
    if np.isnan(a - b):
        return None, None, None
    return (a - b, *(percentiles(drawn_a - drawn_b, config.confidence) if len(drawn_a) else (None, None)))

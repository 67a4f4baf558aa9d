"""What a report is about: systems, the test set that all of them translated, and everything that follows from both.

A system is one model with all of its trainings, which differ in the seed. Scores of a system are means over its
trainings; all comparisons are made here, once, and pictures, tables, files and page show them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from s2s.config import EvaluationConfig
from s2s.data.lengths import length_in_words
from s2s.errors import S2SError
from s2s.evaluation.bleu import Counted, count
from s2s.evaluation.by_length import Evaluation, hash_of_test_set, mean, mean_of_seeds, tokenizer_of
from s2s.evaluation.paired import TRIALS, EveryPair, Randomization, compare_counts, every_pair
from s2s.evaluation.report.length import Series
from s2s.evaluation.report.prose import Comparison, Scored, pairs_to_compare, ranked


@dataclass(frozen=True)
class Training:
    """One training of a system, with its own seed; what was not measured is None.

    Attributes:
        tokens_per_s: target tokens, in training.
        tokens_seen: target tokens.
        memory: MiB at most while it trained.
        threads: of the CPU, in training.
        curve: (update, seconds since the start, validation BLEU).
    """

    seed: int
    evaluation: Evaluation
    hypotheses: Sequence[str]
    train_seconds: float | None = None
    tokens_per_s: float | None = None
    tokens_seen: int | None = None
    memory: float | None = None
    threads: int | None = None
    decode_seconds: float | None = None
    curve: Sequence[tuple[int, float, float]] = ()


@dataclass(frozen=True)
class System:
    """One model with its trainings; all systems of a report have the same seeds."""

    name: str
    family: str  # "fixed", "attention" or "self-attention"
    parameters: int
    non_embedding_parameters: int
    config: Mapping[str, Any]  # of the first training
    trainings: Sequence[Training]

    def mean(self, name: str) -> float | None:
        """Over the trainings, of one of the numbers of `Training`; None where one has none."""
        values = [getattr(one, name) for one in self.trainings]
        return None if None in values else float(mean(values))

    @property
    def memory(self) -> float | None:
        """MiB at most, in any of the trainings."""
        values = [one.memory for one in self.trainings if one.memory is not None]
        return max(values) if len(values) == len(self.trainings) else None


@dataclass(frozen=True)
class TestSet:
    """What all systems of a report translated, and how they were scored."""

    __test__ = False  # not a test of pytest's

    sources: Sequence[str]
    references: Sequence[str]
    source_language: str
    target_language: str
    config: EvaluationConfig

    def lengths(self) -> list[int]:
        """Of the sources, in the unit of the evaluation."""
        return [length_in_words(text, self.source_language) for text in self.sources]


@dataclass(frozen=True)
class Results:
    """Systems, and what was computed of them.

    Attributes:
        counts: by system, of the translations of each training.
        evaluations: by system, the mean over its trainings.
        pairs: every system against every other one, on the whole test set.
        comparisons: of `pairs_to_compare`, by length.
    """

    systems: list[System]
    test: TestSet
    counts: dict[str, list[Counted]]
    evaluations: dict[str, Evaluation]
    pairs: EveryPair
    comparisons: list[Comparison]

    @property
    def first(self) -> Evaluation:
        """One evaluation, for what all of them have in common."""
        return self.evaluations[self.systems[0].name]

    @property
    def seeds(self) -> list[int]:
        return [one.seed for one in self.systems[0].trainings]

    @property
    def scored(self) -> list[Scored]:
        return [Scored(one.name, one.family, self.evaluations[one.name]) for one in self.systems]

    @property
    def series(self) -> list[Series]:
        """For the length picture."""
        several = len(self.seeds) > 1
        return [
            Series(
                one.name,
                self.evaluations[one.name],
                one.family,
                [training.evaluation for training in one.trainings] if several else (),
            )
            for one in self.systems
        ]

    @property
    def baseline(self) -> str:
        """The system that others are compared with unless another is chosen: the best one on a fixed-size encoding."""
        fixed = ranked(self.scored, "fixed")
        return fixed[0].name if fixed else self.systems[0].name


def gather(systems: Sequence[System], test: TestSet, trials: int = TRIALS) -> Results:
    """Counts, means over seeds and comparisons.

    Args:
        trials: of the tests of significance.

    Raises:
        S2SError: no system, two of one name, different seeds, or one that was evaluated on another test set.
    """
    _check(systems, test)
    tokenize = tokenizer_of(test.target_language, test.config)
    counts = {
        one.name: [_counted(tuple(training.hypotheses), tuple(test.references), tokenize) for training in one.trainings]
        for one in systems
    }
    evaluations = {
        one.name: mean_of_seeds(
            [training.evaluation for training in one.trainings],
            counts[one.name],
            test.sources,
            test.references,
            test.config,
        )
        for one in systems
    }
    chance = Randomization(len(test.sources), trials)
    comparisons = [
        Comparison(
            pair,
            compare_counts(counts[pair.a], counts[pair.b], test.sources, test.source_language, test.config, chance),
        )
        for pair in pairs_to_compare([Scored(one.name, one.family, evaluations[one.name]) for one in systems])
    ]
    return Results(list(systems), test, counts, evaluations, every_pair(counts, test.config, chance), comparisons)


_counted = lru_cache(maxsize=64)(count)  # a page that is written again with one more system counts only that one


def _check(systems: Sequence[System], test: TestSet) -> None:
    if not systems:
        raise S2SError("a report page needs at least one evaluated system")
    repeated = [name for name, times in Counter(one.name for one in systems).items() if times > 1]
    if repeated:
        raise S2SError(f"systems of a report page must differ in name: {', '.join(repeated)} repeated")
    digest = hash_of_test_set(test.sources, test.references)
    for one, training in itertools.chain(*(zip(itertools.repeat(one), one.trainings) for one in systems)):
        if training.evaluation.test_set["sha256"] != digest:
            raise S2SError(f"{one.name} was evaluated on another test set than the page's: evaluate it again")
        if len(training.hypotheses) != len(test.sources):
            raise S2SError(
                f"{one.name} has {len(training.hypotheses)} hypotheses for {len(test.sources)} test sentences"
            )
    seeds = {tuple(training.seed for training in one.trainings) for one in systems}
    if len(seeds) > 1 or () in seeds:
        raise S2SError("systems of a report page must be trained with the same seeds")

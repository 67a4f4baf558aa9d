"""Results of a report: the systems, their common test set, and all comparisons between them.

A system is one model with all of its trainings, which differ in the seed. Its scores are means over the trainings. All
comparisons are computed here, once; pictures, tables, files and the page show them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from s2s.errors import S2SError
from s2s.evaluation.bleu import TranslationStatistics, translation_statistics
from s2s.evaluation.by_length import Evaluation, hash_of_test_set, mean, mean_of_seeds, tokenizer_of
from s2s.evaluation.paired import (
    TRIALS,
    ApproximateRandomization,
    PairwiseDifferences,
    differences_by_length,
    pairwise_differences,
    whole_difference,
)
from s2s.evaluation.report.prose import Comparison, SystemScores, pairs_to_compare, rank_by_bleu
from s2s.evaluation.test_set import TestSet


@dataclass(frozen=True)
class Training:
    """One training of a system, with its own seed; None: not measured."""

    seed: int
    evaluation: Evaluation
    hypotheses: Sequence[str]
    train_seconds: float | None = None
    tokens_per_s: float | None = None  # target tokens in training
    tokens_seen: int | None = None  # target tokens
    memory: float | None = None  # peak in MiB during training
    threads: int | None = None  # of the CPU in training
    decode_seconds: float | None = None
    curve: Sequence[tuple[int, float, float]] = ()  # (update, seconds since the start, validation BLEU)
    other_code: bool = False  # trained by another state of the code than the one that writes the report


@dataclass(frozen=True)
class System:
    """One model with its trainings; all systems of a report have the same seeds."""

    name: str
    family: str  # see `palette`
    mixes: tuple[str, str]  # how information travels between the positions of source and target
    parameters: int
    non_embedding_parameters: int
    config: Mapping[str, Any]  # of the first training
    trainings: Sequence[Training]

    def mean(self, name: str) -> float | None:
        """Returns the mean of a field of `Training` over the trainings; None where one of them is None."""
        values = [getattr(training, name) for training in self.trainings]
        return None if None in values else float(mean(values))

    @property
    def memory(self) -> float | None:
        """Peak memory in MiB over all trainings."""
        values = [training.memory for training in self.trainings if training.memory is not None]
        return max(values) if len(values) == len(self.trainings) else None


@dataclass(frozen=True)
class Results:
    """Systems with everything computed from them."""

    systems: list[System]
    test: TestSet
    statistics: dict[str, list[TranslationStatistics]]  # by system, of each training
    evaluations: dict[str, Evaluation]  # by system, the mean over its trainings
    pairwise: PairwiseDifferences  # on the whole test set
    comparisons: list[Comparison]  # of `pairs_to_compare`, by length

    @property
    def first(self) -> Evaluation:
        """Evaluation of the first system, for the properties that all share."""
        return self.evaluations[self.systems[0].name]

    @property
    def seeds(self) -> list[int]:
        return [training.seed for training in self.systems[0].trainings]

    @property
    def scores(self) -> list[SystemScores]:
        return [
            SystemScores(
                system.name,
                system.family,
                self.evaluations[system.name],
                [one.evaluation for one in system.trainings] if len(system.trainings) > 1 else (),
            )
            for system in self.systems
        ]

    @property
    def baseline(self) -> str:
        """Default baseline of the page: the best system with a fixed-length context vector, or else the first."""
        fixed = rank_by_bleu(self.scores, "fixed")
        return fixed[0].name if fixed else self.systems[0].name


def gather(systems: Sequence[System], test: TestSet, trials: int = TRIALS) -> Results:
    """Computes statistics, means over seeds and comparisons.

    Args:
        trials: of the significance tests.

    Raises:
        S2SError: no system, two of one name, different seeds, or a system evaluated on another test set.
    """
    _check(systems, test)
    tokenize, references = tokenizer_of(test.target_language, test.config), tuple(test.references)
    statistics = {
        system.name: [_cached_statistics(tuple(one.hypotheses), references, tokenize) for one in system.trainings]
        for system in systems
    }
    evaluations = {
        system.name: mean_of_seeds([one.evaluation for one in system.trainings], statistics[system.name], test)
        for system in systems
    }
    pairwise = pairwise_differences(statistics, test.config, ApproximateRandomization(len(test.sources), trials))
    results = Results(list(systems), test, statistics, evaluations, pairwise, [])
    for pair in pairs_to_compare(results.scores):
        a, b = ([one.bleu for one in statistics[name]] for name in (pair.a, pair.b))
        whole, by_length = whole_difference(a, b, test.config), differences_by_length(a, b, test)
        results.comparisons.append(Comparison(pair, whole, by_length))
    return results


_cached_statistics = lru_cache(maxsize=64)(translation_statistics)  # a rewritten page counts only its new system


def _check(systems: Sequence[System], test: TestSet) -> None:
    if not systems:
        raise S2SError("a report page needs at least one evaluated system")
    repeated = [name for name, times in Counter(system.name for system in systems).items() if times > 1]
    if repeated:
        raise S2SError(f"systems of a report page must differ in name: {', '.join(repeated)} repeated")
    digest, sentences = hash_of_test_set(test.sources, test.references), len(test.sources)
    for name, training in ((system.name, training) for system in systems for training in system.trainings):
        if training.evaluation.test_set["sha256"] != digest:
            raise S2SError(f"{name} was evaluated on another test set than the page's: evaluate it again")
        if len(training.hypotheses) != sentences:
            raise S2SError(f"{name} has {len(training.hypotheses)} hypotheses for {sentences} test sentences")
    seeds = {tuple(training.seed for training in system.trainings) for system in systems}
    if len(seeds) > 1 or () in seeds:
        raise S2SError("systems of a report page must be trained with the same seeds")

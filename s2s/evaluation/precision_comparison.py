"""Quality loss at lower precision: one model's translations of a test set in several precisions, against the first.

A lower precision leaves most translations unchanged and makes others better or worse. The effect on BLEU is reported
as a difference with the paired bootstrap interval of `s2s.evaluation.paired`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s2s.evaluation.bleu import bleu_statistics
from s2s.evaluation.by_length import check_line_counts, describe_intervals, hash_of_test_set, tokenizer_of
from s2s.evaluation.paired import whole_difference
from s2s.evaluation.test_set import TestSet


@dataclass(frozen=True)
class PrecisionScore:
    """BLEU in one precision; `difference`, its interval and `changed` are relative to the first precision."""

    precision: str
    bleu: float | None
    difference: float | None
    low: float | None
    high: float | None
    changed: float | None  # share of lines whose translation differs
    sentences_per_s: float


@dataclass(frozen=True)
class PrecisionComparison:
    """The contents of `evaluation/<split>.precisions.json`."""

    scores: list[PrecisionScore]
    sentences: int
    signature: str  # sacrebleu's
    intervals: str
    test_set: dict[str, str]  # name, sha256 (`hash_of_test_set`)
    decoding: dict[str, Any]  # without the precision
    machine: dict[str, Any]  # on which the times were measured, with the version of s2s

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for `s2s.files.write_json`."""
        return dataclasses.asdict(self)


def compare_precisions(
    translations: Mapping[str, tuple[Sequence[str], float]],
    test: TestSet,
    *,
    decoding: Mapping[str, Any],
    machine: Mapping[str, Any],
    name: str = "test",
) -> PrecisionComparison:
    """Scores the translations of one test set in several precisions.

    Args:
        translations: by precision, the hypotheses and the decoding time in seconds; the first is the baseline.
        name: of the test set.

    Raises:
        S2SError: like `s2s.evaluation.by_length.evaluate_translations`.
    """
    check_line_counts(test, *(hypotheses for hypotheses, _ in translations.values()))
    tokenize = tokenizer_of(test.target_language, test.config)
    statistics = [bleu_statistics(hypotheses, test.references, tokenize) for hypotheses, _ in translations.values()]
    baseline, _ = next(iter(translations.values()))
    scores = []
    for one, (precision, (hypotheses, seconds)) in zip(statistics, translations.items(), strict=True):
        gap = whole_difference([one], statistics[:1], test.config)
        changed = sum(a != b for a, b in zip(hypotheses, baseline, strict=True)) / len(baseline) if baseline else None
        speed = len(hypotheses) / max(seconds, 1e-9)
        scores.append(PrecisionScore(precision, gap.a, gap.difference, gap.low, gap.high, changed, speed))
    return PrecisionComparison(
        scores=scores,
        sentences=len(test.references),
        signature=statistics[0].signature,
        intervals=describe_intervals("paired bootstrap over sentences", test.config),
        test_set={"name": name, "sha256": hash_of_test_set(test.sources, test.references)},
        decoding={key: value for key, value in decoding.items() if key != "precision"},
        machine=dict(machine),
    )

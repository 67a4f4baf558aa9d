"""What fewer bits cost: one model's translations of a test set in several precisions, against those in the first.

Fewer bits change the model a little: most translations stay the same, some become others, better and worse ones. What
is left of that in BLEU is a difference with the paired bootstrap interval of `s2s.evaluation.by_length`: the same
resamples of sentences for both sides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s2s.config import EvaluationConfig
from s2s.evaluation.by_length import hash_of_test_set
from s2s.evaluation.paired import difference


@dataclass(frozen=True)
class PrecisionScore:
    """BLEU in one precision; `difference`, its interval and `changed` are against the first of them."""

    precision: str
    bleu: float | None
    difference: float | None
    low: float | None
    high: float | None
    changed: float | None  # share of the lines whose translation is another one
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
    machine: dict[str, Any]  # what the times were measured on, and the version of s2s

    def to_json(self) -> dict[str, Any]:
        """Plain values for `s2s.files.write_json`."""
        return dataclasses.asdict(self)


def compare_precisions(
    decoded: Mapping[str, tuple[Sequence[str], float]],
    sources: Sequence[str],
    references: Sequence[str],
    *,
    target_language: str,
    config: EvaluationConfig,
    decoding: Mapping[str, Any],
    machine: Mapping[str, Any],
    test_set: str = "test",
) -> PrecisionComparison:
    """Scores the same test set in several precisions.

    Args:
        decoded: by precision its translations, and the seconds that they took; the first is what the others are
            compared with.

    Raises:
        S2SError: as `s2s.evaluation.by_length.report`.
    """
    first, _ = next(iter(decoded.values()))
    scores = []
    signature = intervals = ""
    for precision, (lines, seconds) in decoded.items():
        gap, signature, intervals = difference(lines, first, references, target_language=target_language, config=config)
        other = sum(a != b for a, b in zip(lines, first, strict=True))
        share = other / len(lines) if lines else None
        scores.append(
            PrecisionScore(precision, gap.a, gap.difference, gap.low, gap.high, share, len(lines) / max(seconds, 1e-9))
        )
    return PrecisionComparison(
        scores=scores,
        sentences=len(references),
        signature=signature,
        intervals=intervals,
        test_set={"name": test_set, "sha256": hash_of_test_set(sources, references)},
        decoding={key: value for key, value in decoding.items() if key != "precision"},
        machine=dict(machine),
    )

"""BLEU by source length of trained models as plain numbers, for experiments on long sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Bin = list[int]  # [shortest, longest, sentences]


def length_bins(facts: Mapping[str, Any]) -> list[Bin]:
    """The bins of a model's evaluation that have both sentences and an upper end.

    Args:
        facts: of one model, see `s2s.lab.translation.train`.
    """
    return [[max(row["min"], 1), row["max"], row["sentences"]] for row in _rows(facts)]


def scores_by_length(facts: Mapping[str, Any], score: str = "bleu") -> list[float]:
    """A score of each of these bins: `bleu`, or `length_ratio` (output over reference)."""
    return [row[score] or 0.0 for row in _rows(facts)]


def _rows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in facts["evaluation"]["by_length"] if row["sentences"] and row["max"] is not None]


def bin_centers(bins: Sequence[Bin]) -> list[float]:
    return [(low + high) / 2 for low, high, _ in bins]


def bin_label(length_bin: Bin) -> str:
    """`9–12 words`."""
    return f"{length_bin[0]}–{length_bin[1]} words"

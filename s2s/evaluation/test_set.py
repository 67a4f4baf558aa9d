"""Test set: parallel text with its languages and the settings that score its translations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2s.config import EvaluationConfig
from s2s.data.lengths import length_in_words


@dataclass(frozen=True)
class TestSet:
    """Source sentences, one reference for each, their languages and the scoring settings."""

    __test__ = False  # pytest collects classes with such a name

    sources: Sequence[str]
    references: Sequence[str]
    source_language: str
    target_language: str
    config: EvaluationConfig

    def lengths(self) -> list[int]:
        """Returns the source lengths in the unit of the evaluation (`s2s.data.lengths.unit`)."""
        return [length_in_words(text, self.source_language) for text in self.sources]

"""Random test sets and corrupted translations of them."""

from __future__ import annotations

import random

from s2s.config import EvaluationConfig
from s2s.evaluation.test_set import TestSet

CONFIG = EvaluationConfig(bins=[5, 10, 20], bootstrap=200, confidence=0.95, tokenize=None, force=False, seed=5)
WORDS = ["der", "die", "Hund", "läuft", "schnell", "nach", "Hause", "und", "bellt", "laut", "im", "Garten"]


def corpus(count: int, seed: int = 0, config: EvaluationConfig = CONFIG) -> TestSet:
    """Returns sources of 1 to 16 words and references of the same lengths."""
    draw = random.Random(seed)
    return random_texts([1 + draw.randrange(16) for _ in range(count)], draw, config)


def random_texts(lengths: list[int], draw: random.Random, config: EvaluationConfig) -> TestSet:
    """Returns sources and references with these numbers of words."""
    sources, references = (
        [" ".join(draw.choice(WORDS) for _ in range(length)) + "." for length in lengths] for _ in range(2)
    )
    return TestSet(sources, references, "en", "de", config)


def corrupted(test: TestSet, rate: float, seed: int) -> list[str]:
    """Returns the references with words replaced at a rate; some lines become empty."""
    draw = random.Random(seed)
    lines = [
        " ".join(draw.choice(WORDS) if draw.random() < rate else word for word in line.split())
        for line in test.references
    ]
    return ["" if draw.random() < rate / 8 else line for line in lines]

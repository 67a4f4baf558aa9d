from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from s2s.config import EvaluationConfig
from s2s.evaluation.by_length import report
from s2s.evaluation.report.results import System, TestSet, Training

WORDS = ["der", "die", "Hund", "läuft", "schnell", "nach", "Hause", "und", "bellt", "laut", "im", "Garten"]
MakeSystem = Callable[..., System]


@pytest.fixture(scope="session")
def test_set() -> TestSet:
    """90 sentences of 1 to 18 words, none of 11 to 12, in bins 5, 10, 12 and more."""
    draw = random.Random(0)
    lengths = [draw.choice([*range(1, 11), *range(13, 19)]) for _ in range(90)]
    sources, references = (
        [" ".join(draw.choice(WORDS) for _ in range(length)) + "." for length in lengths] for _ in range(2)
    )
    config = EvaluationConfig(bins=[5, 10, 12], bootstrap=100, confidence=0.95, tokenize=None, force=False, seed=5)
    return TestSet(sources, references, "en", "de", config)


@pytest.fixture(scope="session")
def make_system(test_set: TestSet) -> MakeSystem:
    """make_system(name, family, rate): a system that gets a word wrong with probability rate × length."""

    def make(
        name: str,
        family: str,
        rate: float,
        limit: int | None = 10,
        hypotheses: Sequence[str] | None = None,
        seeds: Sequence[int] = (1,),
    ) -> System:
        trainings = []
        for number, seed in enumerate(seeds):
            draw = random.Random(f"{name}{number or ''}")
            outputs = hypotheses or [
                " ".join(draw.choice(WORDS) if draw.random() < rate * len(line.split()) else w for w in line.split())
                for line in test_set.references
            ]
            evaluation = report(
                test_set.sources,
                outputs,
                test_set.references,
                source_language="en",
                target_language="de",
                config=test_set.config,
                training_limit=limit,
                reference_limit=limit,
                decoding={"strategy": "greedy"},
            )
            trainings.append(
                Training(
                    seed=seed,
                    evaluation=evaluation,
                    hypotheses=outputs,
                    train_seconds=252.0 + number,
                    tokens_per_s=12_345.6,
                    tokens_seen=3_000_000,
                    memory=512.0 + number,
                    curve=[(100, 10.0, 5.0), (200, 20.5, 12.0 + number)],
                )
            )
        return System(name, family, 1_200_000, 800_000, {"seed": seeds[0]}, trainings)

    return make

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from s2s.config import EvaluationConfig
from s2s.evaluation.by_length import evaluate_translations
from s2s.evaluation.report.results import System, Training
from s2s.evaluation.test_set import TestSet
from tests.evaluation.corpora import WORDS, random_texts
from tests.evaluation.report.browser import NAMES, Browser, installed

MakeSystem = Callable[..., System]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = installed()
    if program is None:
        pytest.skip(f"no browser is installed: none of {', '.join(NAMES)}")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def test_set() -> TestSet:
    """90 sentences of 1 to 18 words, none of 11 to 12, in bins 5, 10, 12 and more."""
    draw = random.Random(0)
    lengths = [draw.choice([*range(1, 11), *range(13, 19)]) for _ in range(90)]
    config = EvaluationConfig(bins=[5, 10, 12], bootstrap=100, confidence=0.95, tokenize=None, force=False, seed=5)
    return random_texts(lengths, draw, config)


@pytest.fixture(scope="session")
def make_system(test_set: TestSet) -> MakeSystem:
    """make_system(name, family, rate): a system with wrong words at a probability of rate × length."""

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
            evaluation = evaluate_translations(
                test_set, outputs, training_limit=limit, reference_limit=limit, decoding={"strategy": "greedy"}
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
        return System(name, family, ("recurrence", "recurrence"), 1_200_000, 800_000, {"seed": seeds[0]}, trainings)

    return make

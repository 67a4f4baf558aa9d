"""Small translation models for the tests of experiments, and helpers for numbers and findings."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s2s.lab.experiment import ExperimentModule, Findings, Numbers
from s2s.lab.runner import JobRunner
from s2s.schema import build

# Overrides for a training of one second. Two updates are too few to learn anything.
SMALL = [
    *(
        "experiment=grammar",
        "data.train_pairs=120",
        "data.validation_pairs=12",
        "data.test_pairs=12",
        "data.longest=18",
    ),
    *("data.lexicon=basic", "data.tokenizer.vocab_size=300", "model.embedding_size=16", "device=cpu"),
    *("training.max_steps=2", "training.validate_every=2", "training.batch_tokens=300"),
    *("decoding.strategy=greedy", "decoding.max_ratio=0.1", "evaluation.bootstrap=2"),
]
WORDS = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"]


def copy_task(folder: Path, shortest: int, longest: int, updates: int, *more: str) -> list[str]:
    """Writes random sentences of these lengths, the same on both sides; returns overrides to learn copying them."""
    rng = random.Random(1)
    splits = {"train": min(4000, 64 * updates), "validation": 20, "test": 25 * (longest - shortest + 1)}
    for split, pairs in splits.items():
        lengths = [shortest + n % (longest - shortest + 1) for n in range(pairs)]
        text = "".join(" ".join(rng.choice(WORDS) for _ in range(length)) + "\n" for length in lengths)
        for side in ("src", "tgt"):
            (folder / f"{split}.{side}").write_text(text, encoding="utf-8")
    return [
        *("data=files", "data.source=src", "data.target=tgt", f"data.train={folder}/train"),
        *(f"data.validation={folder}/validation", f"data.tests=[{folder}/test]"),
        *("data.tokenizer.type=word", "data.tokenizer.byte_fallback=false", "data.tokenizer.vocab_size=20"),
        *("training=quick", "optim=quick", f"training.max_steps={updates}", f"training.validate_every={updates}"),
        *("training.batch_tokens=1000", "training.batch_sentences=64", "training.precision=fp32"),
        *("optim.lr=5e-3", "optim.schedule.warmup=50", "model.embedding_size=32", "device=cpu"),
        *("decoding.strategy=greedy", "decoding.max_extra=3", "evaluation.bootstrap=2", *more),
    ]


def measured(experiment: ExperimentModule, runner: JobRunner, **settings: Any) -> Numbers:
    """Numbers of an experiment as `analyse` and `draw` get them when they are cached: after a round trip in JSON."""
    numbers = experiment.measure(build(experiment.Settings, settings), runner)
    return json.loads(json.dumps(numbers))  # type: ignore[no-any-return]


def numerical_norms(last: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-6) -> Tensor:
    """(B, T, I) -> (B, T): ‖∂h_T/∂x_t‖ of `last`, which maps (B, T, I) to h_T, by central differences."""
    squares = torch.zeros(x.shape[:2], dtype=x.dtype)
    for t in range(x.size(1)):
        for component in range(x.size(2)):
            up, down = x.clone(), x.clone()
            up[:, t, component] += step
            down[:, t, component] -= step
            squares[:, t] += ((last(up) - last(down)) / (2 * step)).square().sum(dim=1)
    return squares.sqrt().detach()


def text(findings: Findings) -> str:
    return "\n".join([*findings.sentences, findings.reason, *(" | ".join(row) for row in findings.rows)])


def assert_draws(experiment: ExperimentModule, numbers: Numbers, panels: int) -> None:
    """Both figures have this many panels."""
    for narrow in (False, True):
        assert len(experiment.draw(numbers, narrow).axes) == panels

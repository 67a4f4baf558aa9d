"""A bench whose translation models are trained in a second, for the tests of experiments that train some."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir

from s2s.commands.lab import trained, training_configuration
from s2s.lab.bench import Bench
from s2s.lab.experiment import Findings, Numbers

# Two updates are too few to learn anything; what is tested is what stands before and after learning.
SMALL = [
    "data=grammar",
    "data.train_pairs=120",
    "data.validation_pairs=12",
    "data.test_pairs=12",
    "data.longest=18",
    "data.lexicon=basic",
    "data.tokenizer.vocab_size=300",
    "model.embedding_size=16",
    "training.max_steps=2",
    "training.validate_every=2",
    "training.batch_tokens=300",
    "decoding.strategy=greedy",
    "decoding.max_ratio=0.1",
    "evaluation.bootstrap=2",
    "device=cpu",
]


@contextmanager
def small_bench(root: Path, folder: Path) -> Iterator[Bench]:
    """A bench that composes configurations from the project's own `conf/`."""
    with initialize_config_dir(version_base="1.3", config_dir=str(root / "conf")):
        yield Bench(folder, training_configuration, trained)


def through_json(numbers: Numbers) -> Numbers:
    """What `find` and `draw` get where an experiment was carried out before."""
    found: dict[str, Any] = json.loads(json.dumps(numbers))
    return found


def said(findings: Findings) -> str:
    """All of it as one text."""
    return "\n".join([*findings.sentences, findings.reason, *(" | ".join(row) for row in findings.rows)])

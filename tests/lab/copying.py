"""Translation at tiny size: models that learn to copy made-up words, trained and evaluated as the lab does it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir

from s2s.commands.lab import trained, training_configuration
from s2s.lab.bench import Bench

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"]


@contextmanager
def tiny_bench(folder: Path) -> Iterator[Bench]:
    """A bench whose training runs are composed from `conf/`, as `scripts/lab.py` does it."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield Bench(folder / "bench", training_configuration, trained)


def copying(folder: Path, shortest: int, longest: int, updates: int, *more: str) -> list[str]:
    """Writes random sentences of so many words, the same on both sides; what to type for train.py to learn them."""
    draw = random.Random(1)
    splits = {"train": min(4000, 64 * updates), "validation": 20, "test": 25 * (longest - shortest + 1)}
    for split, pairs in splits.items():
        lengths = [shortest + n % (longest - shortest + 1) for n in range(pairs)]
        text = "".join(" ".join(draw.choice(WORDS) for _ in range(length)) + "\n" for length in lengths)
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

"""`task=data`: from text to batches, the first time and when everything is in the cache.

Each measurement is a process of its own, with a cache of its own: first one that finds it empty, then, in turns, one
that does not. The steps are those of a training run: reading the text, training a tokeniser, tokenising and planning an
epoch, the first batch, and then batches as fast as they can be made. Memory is the process's own (mapped files are not
counted), the most that was seen, beyond what it had when all modules were loaded.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np

from s2s.benchmark.peers.memory import anonymous_memory, peak_memory
from s2s.config import DataConfig, GrammarData, PositiveInt, TrainingConfig
from s2s.data.batching import TrainingData
from s2s.data.corpus import load_corpus
from s2s.data.tokenizer import train_tokenizer

STEPS = ("text", "tokenizer", "ids", "first_batch")


@dataclass(frozen=True)
class LoadingConfig:
    """What `task=data` measures."""

    pairs: list[PositiveInt]  # sizes of the built-in corpus; another data set is taken as it is
    batches: PositiveInt  # made as fast as they can be, spread over an epoch


def corpora(config: LoadingConfig, data: DataConfig) -> list[DataConfig]:
    """The data sets that are measured."""
    if not isinstance(data, GrammarData):
        return [data]
    return [replace(data, train_pairs=pairs) for pairs in config.pairs]


def measure(
    config: LoadingConfig, data: DataConfig, training: TrainingConfig, repetitions: int, done: Callable[[], object]
) -> list[dict[str, Any]]:
    """Two rows for each corpus: the first time, and from the cache (medians).

    Args:
        config: what is measured.
        data: the data set.
        training: batch_tokens and batch_sentences.
        repetitions: processes that find the cache full.
        done: called after each process.
    """
    wanted = corpora(config, data)
    taken: dict[tuple[int, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(repetitions + 1):
            for number, one in enumerate(wanted):
                cache = Path(folder) / str(number)
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    found = process.submit(_once, cache, one, training, config.batches).result()
                taken.setdefault((number, "cached" if repetition else "first"), []).append(found)
                done()
    return [
        {"cache": "full" if state == "cached" else "empty"}
        | {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for (_, state), runs in sorted(taken.items(), key=lambda item: (item[0][0], item[0][1] == "cached"))
    ]


def _once(cache: Path, data: DataConfig, training: TrainingConfig, batches: int) -> dict[str, float]:
    datasets.config.HF_DATASETS_CACHE = cache
    found: dict[str, float] = {}
    memory = peak_memory(lambda: found.update(_steps(data, training, batches)), anonymous_memory())
    return found | ({} if memory is None else {"memory": memory})


def _steps(data: DataConfig, training: TrainingConfig, batches: int) -> dict[str, float]:
    times = [time.perf_counter()]

    def done() -> None:
        times.append(time.perf_counter())

    train = load_corpus(data, ["train"]).train
    done()
    tokenizer = train_tokenizer(data.tokenizer, train.source, train.target)
    done()
    ready = TrainingData(train, tokenizer, training.batch_tokens, 1, training.batch_sentences)
    total = ready.num_batches(0)
    done()
    ready.batch(0, 0)
    done()
    positions = np.linspace(0, total - 1, batches).astype(int).tolist()
    tokens = sum(ready.batch(0, position).tokens for position in positions)
    rate = 1 / (time.perf_counter() - times[-1])
    steps = dict(zip(STEPS, np.diff(times).tolist(), strict=True))
    return {
        **{"pairs": len(train), "target_tokens": ready.target_tokens(0), **steps, "seconds": times[-1] - times[0]},
        **{"batches_per_s": batches * rate, "tokens_per_s": tokens * rate},
    }


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A line for each corpus and state of the cache."""
    lines = [["pairs", "cache", *(f"{step.replace('_', ' ')} s" for step in STEPS), "all s", "tokens/s", "MiB"]]
    for row in rows:
        seconds = [f"{row[key]:.2f}" for key in (*STEPS, "seconds")]
        memory = f"{row['memory']:,.0f}" if "memory" in row else ""
        lines.append([f"{row['pairs']:,.0f}", row["cache"], *seconds, f"{row['tokens_per_s']:,.0f}", memory])
    return lines

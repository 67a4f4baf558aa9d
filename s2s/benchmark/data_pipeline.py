"""`task=data`: time and memory from text to batches, with an empty and with a full cache.

Each measurement is a process with its own cache folder: first one that finds it empty, then, in turns, the others that
find it full. The steps are those of a training run: reading the text, training a tokeniser, tokenising and planning an
epoch, the first batch, and then batches at full speed. Memory is the peak of the process's own memory (without mapped
files), beyond its memory after all imports.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np

from s2s.benchmark.machine import Done
from s2s.benchmark.peers.worker import anonymous_memory, peak_memory
from s2s.config import DataConfig, GrammarData, TrainingConfig
from s2s.data.batching import TrainingData
from s2s.data.corpus import load_corpus
from s2s.data.tokenizer import train_tokenizer
from s2s.schema import PositiveInt

STEPS = ("text", "tokenizer", "ids", "first_batch")


@dataclass(frozen=True)
class DataPipelineConfig:
    """Configuration of `task=data`."""

    pairs: list[PositiveInt]  # sizes of the built-in corpus; another data set is used as it is
    batches: PositiveInt  # built at full speed, spread over an epoch


def corpora(config: DataPipelineConfig, data: DataConfig) -> list[DataConfig]:
    """Returns the measured data sets."""
    if not isinstance(data, GrammarData):
        return [data]
    return [replace(data, train_pairs=pairs) for pairs in config.pairs]


def measure(
    config: DataPipelineConfig, data: DataConfig, training: TrainingConfig, repetitions: int, done: Done
) -> list[dict[str, Any]]:
    """Returns two rows per corpus: with an empty cache, and with a full one (medians of `repetitions` processes)."""
    runs: dict[tuple[int, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(repetitions + 1):
            for number, corpus in enumerate(corpora(config, data)):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    run = pool.submit(_run, Path(folder) / str(number), corpus, training, config.batches).result()
                runs.setdefault((number, "full" if repetition else "empty"), []).append(run)
                done()
    return [
        {"cache": cache}
        | {key: statistics.median(run[key] for run in runs[number, cache]) for key in runs[number, cache][0]}
        for number, cache in sorted(runs)
    ]


def _run(cache: Path, data: DataConfig, training: TrainingConfig, batches: int) -> dict[str, float]:
    datasets.config.HF_DATASETS_CACHE = cache
    row: dict[str, float] = {}
    memory = peak_memory(lambda: row.update(_steps(data, training, batches)), anonymous_memory())
    return row | ({} if memory is None else {"memory": memory})


def _steps(data: DataConfig, training: TrainingConfig, batches: int) -> dict[str, float]:
    times = [time.perf_counter()]

    def done() -> None:
        times.append(time.perf_counter())

    train = load_corpus(data, ["train"]).train
    done()
    tokenizer = train_tokenizer(data.tokenizer, train.source, train.target)
    done()
    examples = TrainingData(train, tokenizer, training.batch_tokens, 1, training.batch_sentences)
    total = examples.num_batches(0)
    done()
    examples.batch(0, 0)
    done()
    positions = np.linspace(0, total - 1, batches).astype(int).tolist()
    tokens = sum(examples.batch(0, position).tokens for position in positions)
    rate = 1 / (time.perf_counter() - times[-1])
    steps = dict(zip(STEPS, np.diff(times).tolist(), strict=True))
    return {
        **{"pairs": len(train), "target_tokens": examples.target_tokens(0), **steps, "seconds": times[-1] - times[0]},
        **{"batches_per_s": batches * rate, "tokens_per_s": tokens * rate},
    }


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Returns a line per corpus and state of the cache."""
    lines = [["pairs", "cache", *(f"{step.replace('_', ' ')} s" for step in STEPS), "all s", "tokens/s", "MiB"]]
    for row in rows:
        seconds = [f"{row[key]:.2f}" for key in (*STEPS, "seconds")]
        memory = f"{row['memory']:,.0f}" if "memory" in row else ""
        lines.append([f"{row['pairs']:,.0f}", row["cache"], *seconds, f"{row['tokens_per_s']:,.0f}", memory])
    return lines

"""`task=train` and `task=decode`: s2s beside other programs, on the same batches, in the same run, taking turns.

Each program has a process and an environment of its own and a new model of the same shape. The passes go round, s2s
and each peer once, again and again; ratios are those of medians. Training is the whole update: forward and backward
pass, clipping, Adam. Decoding is beam search with the length of the output fixed for each batch (that of its longest
source), so that all produce the same number of tokens.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from s2s.benchmark.machine import product_rate
from s2s.benchmark.programs import MODULES, Arrays, Program, environment, write_batches
from s2s.config import Precision
from s2s.data.batching import Batch, TrainingData
from s2s.data.corpus import Corpus
from s2s.data.tokenizer import BOS, Tokenizer
from s2s.errors import S2SError
from s2s.schema import PositiveInt, Probability

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecurrentShape:
    """Bidirectional LSTM encoder, LSTM decoder with Bahdanau attention; one layer each."""

    type: Literal["recurrent"]
    embedding: PositiveInt
    encoder: PositiveInt  # width of each direction
    decoder: PositiveInt
    attention: PositiveInt
    query: Literal["previous", "current"]
    input_feeding: bool
    dropout: Probability


@dataclass(frozen=True)
class FixedShape:
    """Bidirectional recurrent encoder whose last state is all that a recurrent decoder gets, at every step."""

    type: Literal["fixed"]
    cell: str
    embedding: PositiveInt
    encoder: PositiveInt  # width of each direction
    decoder: PositiveInt
    dropout: Probability


@dataclass(frozen=True)
class TransformerShape:
    """Encoder and decoder alike."""

    type: Literal["transformer"]
    size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    feedforward: PositiveInt
    dropout: Probability


@dataclass(frozen=True)
class TrainConfig:
    """What `task=train` measures."""

    models: dict[str, RecurrentShape | TransformerShape]
    batches: PositiveInt  # of training.batch_tokens each, from one epoch
    precision: list[Literal["fp32", "bf16"]]  # of s2s and torch; other peers have their default


@dataclass(frozen=True)
class DecodeConfig:
    """What `task=decode` measures."""

    models: dict[str, RecurrentShape | TransformerShape]
    sentences: PositiveInt
    batch: PositiveInt  # sentences
    beam: PositiveInt
    precision: list[Precision]


# What each program can be asked for; s2s is measured in all that any of them is.
PRECISIONS = {
    "train": {"s2s": ("fp32", "bf16"), "torch": ("fp32", "bf16"), "joeynmt": ("fp32",)},
    "decode": {
        "s2s": ("fp32", "bf16", "int8"),
        "joeynmt": ("fp32",),
        "transformers": ("fp32",),
        "ctranslate2": ("fp32", "int8"),
    },
}


@dataclass(frozen=True)
class Work:
    """What all programs are given."""

    task: Literal["train", "decode"]
    vocabulary: int
    batches: list[Arrays]
    tokens: int  # target tokens of a pass
    more: dict[str, Any]  # sections of the configuration that s2s takes


def training_batches(corpus: Corpus, tokenizer: Tokenizer, batch_tokens: int, count: int) -> tuple[list[Arrays], int]:
    """Evenly spread over the first epoch, and their target tokens."""
    data = TrainingData(corpus.train, tokenizer, batch_tokens, 1)
    total = data.num_batches(0)
    chosen = [data.batch(0, position) for position in np.linspace(0, total - 1, min(count, total)).astype(int)]
    return [_arrays(batch) for batch in chosen], sum(batch.tokens for batch in chosen)


def _arrays(batch: Batch) -> Arrays:
    return {
        "source": batch.source.numpy(),
        "lengths": np.array(batch.source_lengths),
        "input": batch.target_input.numpy(),
        "target": batch.target.numpy(),
    }


def decoding_batches(sources: Sequence[str], tokenizer: Tokenizer, size: int) -> tuple[list[Arrays], int]:
    """Sources by length in batches of `size` sentences, each batch with the length of its output."""
    ids = sorted(tokenizer.encode_source(list(sources)), key=len, reverse=True)
    batches = []
    for start in range(0, len(ids), size):
        rows = ids[start : start + size]
        longest = len(rows[0])
        source = np.zeros((len(rows), longest + 1), dtype=np.int64)
        for row, values in zip(source, rows, strict=True):
            row[: len(values) + 1] = [*values, BOS + 1]
        lengths = np.array([len(values) + 1 for values in rows])
        batches.append({"source": source, "lengths": lengths, "length": np.array(max(1, longest))})
    return batches, sum(int(batch["length"]) * len(batch["source"]) for batch in batches)


def measure(
    work: Work,
    models: Mapping[str, Mapping[str, Any]],
    precisions: Sequence[str],
    peers: Sequence[str],
    repetitions: int,
    environments: Path,
    device: torch.device,
    done: Callable[[], object],
) -> list[dict[str, Any]]:
    """A row for each model, program and precision: medians, and the rate of the machine's matrix product.

    Args:
        models: shapes by name.
        peers: what s2s is measured against.
        repetitions: passes of each program.
        environments: where those of the peers are.
        device: where all programs run.
        done: called after each pass.

    Raises:
        S2SError: a peer cannot be installed.
    """
    pythons = {program: environment(program, environments) for program in ("s2s", *peers)}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        batches = Path(name) / "batches.npz"
        write_batches(batches, work.batches)
        for model, shape in models.items():
            programs: dict[tuple[str, str], Program] = {}
            try:
                for program, python in pythons.items():
                    for precision in PRECISIONS[work.task][program]:
                        if precision not in precisions:
                            continue
                        given = {
                            **{"task": work.task, "shape": dict(shape), "vocabulary": work.vocabulary},
                            **{"precision": precision, "threads": torch.get_num_threads(), "device": str(device)},
                            **{"memory": None, **work.more},
                        }
                        try:
                            programs[program, precision] = Program(program, python, given, Path(name), batches)
                        except S2SError as error:
                            log.warning("%s: %s", model, error)
                rows += _rounds(model, shape, programs, repetitions, work, device, done)
            finally:
                for process in programs.values():
                    process.close()
    return rows


def _rounds(
    model: str,
    shape: Mapping[str, Any],
    programs: Mapping[tuple[str, str], Program],
    repetitions: int,
    work: Work,
    device: torch.device,
    done: Callable[[], object],
) -> list[dict[str, Any]]:
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in programs}
    for _ in range(repetitions):
        for key, program in programs.items():
            taken[key].append(program.run())
            done()
    rows = []
    for (name, precision), runs in taken.items():
        seconds = statistics.median(runs)
        facts = programs[name, precision].facts
        row = {"model": model, "program": name, "precision": precision, "seconds": seconds, **facts}
        row |= {"tokens_per_s": work.tokens / seconds, "memory": programs[name, precision].memory()}
        if name == "s2s" and precision != "int8":  # whose products are no operations of floating point
            row["operations"] = programs[name, precision].operations()
        rows.append(row)
    # The share of what the machine could do, if it did nothing but these products, at the model's width.
    for row in rows:
        counted = next((r["operations"] for r in rows if "operations" in r), None)
        if counted is not None:
            kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}[row["precision"]]
            width, wide = _products(shape)
            rows_of = len(work.batches[0]["source"])
            if work.task == "decode":
                rows_of *= work.more["decoding"]["beam"]
            elif shape["type"] == "transformer":  # all tokens at once
                rows_of = round(statistics.fmean(batch["target"].size for batch in work.batches))
            row["product_gflops"] = product_rate(rows_of, width, wide, kind, device) / 1e9
            row["share"] = counted / row["seconds"] / (row["product_gflops"] * 1e9)
    return rows


def _products(shape: Mapping[str, Any]) -> tuple[int, int]:
    """The product that most of the model's are like: inner and outer width."""
    if shape["type"] == "transformer":
        return shape["size"], shape["feedforward"]
    return shape["decoder"], 4 * shape["decoder"]


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each row: tokens a second, and how many times as fast s2s is (in bf16 where it was measured)."""
    lines = [["model", "program", "", "tokens/s", "s2s is × as fast", "% of product rate", "MiB"]]
    for row in rows:
        ours = {r["precision"]: r for r in rows if r["model"] == row["model"] and r["program"] == "s2s"}
        ratio = "; ".join(f"{precision} {row['seconds'] / one['seconds']:.2f}" for precision, one in ours.items())
        memory = "" if row["memory"] is None else f"{row['memory']:,.0f}"
        share = f"{100 * row['share']:.0f}" if "share" in row else ""
        lines.append(
            [
                *(row["model"], row["program"], row["precision"], f"{row['tokens_per_s']:,.0f}"),
                *(
                    "" if row["program"] == "s2s" else ratio,
                    share,
                    memory,
                ),
            ]
        )
    return lines


def peers_of(value: str | list[str] | None, task: str) -> list[str]:
    """`peer` of the configuration as a list.

    Raises:
        S2SError: one is unknown, or does not do the task.
    """
    peers = [] if value is None else [value] if isinstance(value, str) else list(value)
    able = [program for program in PRECISIONS.get(task, ()) if program != "s2s"]
    for peer in peers:
        if peer not in MODULES or peer == "s2s":
            raise S2SError(f"config: peer={peer} is unknown; known: {', '.join(m for m in MODULES if m != 's2s')}")
        if peer not in able:
            raise S2SError(f"config: peer={peer} does not do task={task}; these do: {', '.join(able) or 'none'}")
    return peers

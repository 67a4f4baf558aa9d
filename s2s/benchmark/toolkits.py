"""`task=train` and `task=decode`: s2s beside peer toolkits, on the same batches, in the same run.

Each program has its own process and environment and a new model of the same shape. The programs take turns, one pass
each, and ratios are ratios of medians. Training is the whole update: forward and backward pass, clipping, Adam.
Decoding is beam search with a fixed output length per batch (that of its longest source), so that all programs produce
the same number of tokens.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from s2s.benchmark.machine import Done, gemm_rate, in_turns
from s2s.benchmark.programs import PROGRAMS, Arrays, Program, arrays_of, environment, specification, write_batches
from s2s.benchmark.shapes import RecurrentShape, TransformerShape
from s2s.config import Precision
from s2s.data.batching import TrainingData, pad_with_eos
from s2s.data.corpus import Corpus
from s2s.data.tokenizer import Tokenizer
from s2s.dtype_choice import DTYPES, Dtype
from s2s.errors import S2SError
from s2s.schema import PositiveInt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of `task=train`."""

    models: dict[str, RecurrentShape | TransformerShape]
    batches: PositiveInt  # of training.batch_tokens each, from one epoch
    precision: list[Dtype]  # of s2s and torch; other peers have their default


@dataclass(frozen=True)
class DecodeConfig:
    """Configuration of `task=decode`."""

    models: dict[str, RecurrentShape | TransformerShape]
    sentences: PositiveInt
    batch: PositiveInt  # sentences
    beam: PositiveInt
    precision: list[Precision]


# Precisions of each program; s2s has those of all peers.
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
    """Input of all programs."""

    task: Literal["train", "decode"]
    vocabulary: int
    batches: list[Arrays]
    tokens: int  # target tokens of a pass
    sections: dict[str, Any]  # sections of the configuration that s2s reads


def training_batches(corpus: Corpus, tokenizer: Tokenizer, batch_tokens: int, count: int) -> tuple[list[Arrays], int]:
    """Returns `count` batches, evenly spread over the first epoch, and their target tokens."""
    data = TrainingData(corpus.train, tokenizer, batch_tokens, 1)
    total = data.num_batches(0)
    batches = [data.batch(0, position) for position in np.linspace(0, total - 1, min(count, total)).astype(int)]
    return [arrays_of(batch) for batch in batches], sum(batch.tokens for batch in batches)


def decoding_batches(sources: Sequence[str], tokenizer: Tokenizer, size: int) -> tuple[list[Arrays], int]:
    """Returns batches of `size` sources, sorted by length, with their output lengths, and the target tokens."""
    ids = sorted(tokenizer.encode_source(list(sources)), key=len, reverse=True)
    batches = []
    for start in range(0, len(ids), size):
        source, mask = pad_with_eos(ids[start : start + size])
        length = np.array(max(1, len(ids[start])))
        batches.append({"source": source.numpy(), "lengths": mask.sum(1).numpy(), "length": length})
    return batches, sum(int(batch["length"]) * len(batch["source"]) for batch in batches)


def measure(
    work: Work,
    models: Mapping[str, Mapping[str, Any]],
    precisions: Sequence[str],
    peers: Sequence[str],
    repetitions: int,
    environments: Path,
    device: torch.device,
    done: Done,
) -> list[dict[str, Any]]:
    """Returns a row per model, program and precision: medians, and the GEMM throughput of the machine.

    Args:
        models: shapes by name.
        peers: programs beside s2s.
        repetitions: passes of each program.
        environments: folder of the peers' environments.

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
            with ExitStack() as stack:
                for program, python in pythons.items():
                    for precision in [p for p in PRECISIONS[work.task][program] if p in precisions]:
                        values = {"vocabulary": work.vocabulary, "precision": precision, **work.sections}
                        spec = specification(work.task, shape, device, **values)
                        try:
                            process = Program(program, python, spec, Path(name), batches)
                        except S2SError as error:
                            log.warning("%s: %s", model, error)
                        else:
                            programs[program, precision] = stack.enter_context(closing(process))
                times = in_turns({key: process.run for key, process in programs.items()}, repetitions, done)
                medians = {key: statistics.median(seconds) for key, seconds in times.items()}
                rows += [{"model": model, **row} for row in _rows(shape, programs, medians, work, device)]
    return rows


def _rows(
    shape: Mapping[str, Any],
    programs: Mapping[tuple[str, str], Program],
    medians: Mapping[tuple[str, str], float],
    work: Work,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Returns a row per program and precision, with its share of the GEMM throughput at the model's width."""
    rows = []
    for (name, precision), program in programs.items():
        seconds = medians[name, precision]
        row = {"program": name, "precision": precision, "seconds": seconds, **program.facts}
        row |= {"tokens_per_s": work.tokens / seconds, "memory": program.memory()}
        if name == "s2s" and precision != "int8":  # int8 multiplications are no floating-point operations
            row["operations"] = program.operations()
        rows.append(row)
    operations = next((row["operations"] for row in rows if "operations" in row), None)
    if operations is None:
        return rows
    height = len(work.batches[0]["source"])
    if work.task == "decode":
        height *= work.sections["decoding"]["beam"]
    elif shape["type"] == "transformer":  # all tokens at once
        height = round(statistics.fmean(batch["target"].size for batch in work.batches))
    # (inner, columns) of the model's typical GEMM
    width = (
        (shape["size"], shape["feedforward"])
        if shape["type"] == "transformer"
        else (shape["decoder"], 4 * shape["decoder"])
    )
    for row in rows:
        dtype = torch.int8 if row["precision"] == "int8" else DTYPES[row["precision"]]
        row["product_gflops"] = gemm_rate(height, *width, dtype, device) / 1e9
        row["share"] = operations / row["seconds"] / (row["product_gflops"] * 1e9)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Returns a line per row: target tokens a second, and the speedup of s2s over the row, in each precision of s2s."""
    lines = [["model", "program", "", "tokens/s", "speedup of s2s", "% of GEMM rate", "MiB"]]
    for row in rows:
        ours = {r["precision"]: r for r in rows if r["model"] == row["model"] and r["program"] == "s2s"}
        speedup = "; ".join(f"{precision} {row['seconds'] / one['seconds']:.2f}" for precision, one in ours.items())
        share = f"{100 * row['share']:.0f}" if "share" in row else ""
        memory = "" if row["memory"] is None else f"{row['memory']:,.0f}"
        line = [row["model"], row["program"], row["precision"], f"{row['tokens_per_s']:,.0f}"]
        lines.append([*line, "" if row["program"] == "s2s" else speedup, share, memory])
    return lines


def peers_of(value: str | list[str] | None, task: str) -> list[str]:
    """Returns `peer` of the configuration as a list.

    Raises:
        S2SError: a peer is unknown, or does not do the task.
    """
    peers = [] if value is None else [value] if isinstance(value, str) else list(value)
    known, able = ([one for one in programs if one != "s2s"] for programs in (PROGRAMS, PRECISIONS.get(task, ())))
    for peer in peers:
        if peer not in known:
            raise S2SError(f"config: peer={peer} is unknown; known: {', '.join(known)}")
        if peer not in able:
            raise S2SError(f"config: peer={peer} does not do task={task}; these do: {', '.join(able) or 'none'}")
    return peers

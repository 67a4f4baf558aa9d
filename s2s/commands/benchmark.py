"""`scripts/benchmark.py`: speed and memory on this machine, beside other programs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from s2s.benchmark import cells, data_pipeline, gpu, scaling, toolkits
from s2s.benchmark.cells import CellsConfig
from s2s.benchmark.data_pipeline import DataPipelineConfig
from s2s.benchmark.gpu import GpuConfig
from s2s.benchmark.machine import facts
from s2s.benchmark.scaling import ScalingConfig
from s2s.benchmark.toolkits import DecodeConfig, TrainConfig, Work
from s2s.commands.console import plain
from s2s.config import DataConfig, DecodingConfig, OptimConfig, TrainingConfig
from s2s.data.corpus import load_corpus, without_tests
from s2s.data.tokenizer import train_tokenizer
from s2s.devices import keep_freed_memory, pick_device
from s2s.errors import S2SError
from s2s.evaluation.report.scaling import scaling_picture
from s2s.evaluation.report.table import align
from s2s.evaluation.scaling import Scaling, as_rows, read_scaling
from s2s.files import check_output, print_text, user_path, write_json
from s2s.schema import PositiveInt, checked

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
Measured = tuple[Rows, list[list[str]]]  # the rows of the file, and those of the table
PICTURES = (".png", ".svg")


@dataclass(frozen=True)
class BenchmarkConfig:
    """conf/benchmark.yaml; see there for the meaning."""

    task: Literal["cells", "train", "decode", "scaling", "data", "gpu"]
    cells: CellsConfig
    train: TrainConfig
    decode: DecodeConfig
    scaling: ScalingConfig
    loading: DataPipelineConfig
    gpu: GpuConfig
    peer: str | list[str] | None
    environments: str
    data: DataConfig
    training: TrainingConfig
    optim: OptimConfig
    decoding: DecodingConfig
    repetitions: PositiveInt
    device: str
    output: str | None


def benchmark(config: DictConfig) -> None:
    """Measures; the table goes to stdout, all numbers with the machine's facts to `output`.

    Raises:
        S2SError: a value of the configuration is wrong, or what it names cannot be measured.
    """
    values = plain(config)
    own = checked(BenchmarkConfig, values)
    toolkits.peers_of(own.peer, own.task)  # before anything is read
    keeps_parts = own.task == "gpu"  # which writes each part of its own
    output = None if own.output is None or keeps_parts else user_path(own.output)
    if output is not None:
        check_output(output)
        if own.task == "scaling" and output.suffix in PICTURES:
            raise S2SError(f"config: output={output} must be a JSON file; its picture is written beside it")
    device = pick_device(own.device)
    keep_freed_memory()
    machine = facts(device)
    log.info("%s, %d threads, torch %s", machine["processor"], machine["threads"], machine["torch"])
    rows, lines = TASKS[own.task](own, values, device)
    if output is not None:
        write_json(output, {"config": values, "machine": machine, "rows": rows})
        if own.task == "scaling":
            for suffix in PICTURES:
                scaling_picture(read_scaling(output), output.with_suffix(suffix))
    print_text(align(lines) + "\n")


def _cells(config: BenchmarkConfig, values: dict[str, Any], device: torch.device) -> Measured:
    total = cells.count_runs(config.cells, config.repetitions, device)
    with tqdm(total=total, desc="cells", unit=" runs", disable=None) as bar:
        rows = cells.measure(config.cells, config.repetitions, device, bar.update)
    return rows, cells.table(rows)


def _against(
    task: Literal["train", "decode"], config: BenchmarkConfig, values: dict[str, Any], device: torch.device
) -> Measured:
    """Training or decoding, beside other programs."""
    section: TrainConfig | DecodeConfig
    if task == "decode" and not config.data.tests:
        reason = without_tests(config.data)
        raise S2SError(f"{reason}: task=decode translates the first test set, so choose data with one")
    corpus = load_corpus(config.data, ["train"] if task == "train" else None)
    tokenizer = train_tokenizer(config.data.tokenizer, corpus.train.source, corpus.train.target)
    if task == "train":
        section, size = config.train, config.training.batch_tokens
        batches, tokens = toolkits.training_batches(corpus, tokenizer, size, config.train.batches)
        more = {key: values[key] for key in ("training", "optim")}
        more["label_smoothing"] = config.training.label_smoothing
    else:
        section, test = config.decode, next(iter(corpus.tests.values()))
        sources = [test.source[n] for n in range(min(config.decode.sentences, len(test)))]
        batches, tokens = toolkits.decoding_batches(sources, tokenizer, config.decode.batch)
        more = {"decoding": _beam_search(config, config.decode.beam)}
    vocabulary = max(tokenizer.source_size, tokenizer.target_size)
    work = Work(task, vocabulary, batches, tokens, more)
    peers = toolkits.peers_of(config.peer, task)
    known = toolkits.PRECISIONS[task]
    passes = sum(p in section.precision for program in ("s2s", *peers) for p in known.get(program, ()))
    models = {name: asdict(shape) for name, shape in section.models.items()}
    log.info("%d batches, %s target tokens a pass, %d passes", len(batches), f"{tokens:,}", config.repetitions)
    with tqdm(total=passes * len(models) * config.repetitions, desc=task, unit=" passes", disable=None) as bar:
        where = user_path(config.environments), device
        rows = toolkits.measure(work, models, section.precision, peers, config.repetitions, *where, bar.update)
    return rows, toolkits.table(rows)


def _beam_search(config: BenchmarkConfig, beam: int) -> dict[str, Any]:
    return asdict(replace(config.decoding, strategy="beam", beam=beam, n_best=1))


def _scaling(config: BenchmarkConfig, values: dict[str, Any], device: torch.device) -> Measured:
    more = {key: values[key] for key in ("training", "optim")}
    more["decoding"] = _beam_search(config, config.scaling.beam)
    total = scaling.count_passes(config.scaling, config.repetitions)
    with tqdm(total=total, desc="scaling", unit=" passes", disable=None) as bar:
        costs = scaling.measure(config.scaling, more, config.repetitions, device, bar.update)
    measured = Scaling(costs, values, facts(device))
    return as_rows(measured), scaling.table(measured)


def _data(config: BenchmarkConfig, values: dict[str, Any], device: torch.device) -> Measured:
    total = len(data_pipeline.corpora(config.loading, config.data)) * (config.repetitions + 1)
    with tqdm(total=total, desc="data", unit=" processes", disable=None) as bar:
        rows = data_pipeline.measure(config.loading, config.data, config.training, config.repetitions, bar.update)
    return rows, data_pipeline.table(rows)


def _gpu(config: BenchmarkConfig, values: dict[str, Any], device: torch.device) -> Measured:
    if device.type != "cuda":
        log.warning("device=%s is no GPU: the numbers are not those of a GPU", device)
    machine, folder = facts(device), None if config.output is None else user_path(config.output)

    def keep(part: str, rows: Rows, error: str | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            whole = {"config": values["gpu"], "machine": machine, "rows": rows, "ended_early": error}
            write_json(folder / f"{part}.json", whole)

    more = {key: values[key] for key in ("training", "optim", "decoding")}
    with tqdm(total=len(config.gpu.parts), desc="gpu", unit=" parts", disable=None) as bar:
        measured = gpu.measure(config.gpu, more, device, config.repetitions, keep, bar.update)
    return [row for rows in measured.values() for row in rows], gpu.table(measured)


TASKS: dict[str, Callable[[BenchmarkConfig, dict[str, Any], torch.device], Measured]] = {
    "cells": _cells,
    "train": partial(_against, "train"),
    "decode": partial(_against, "decode"),
    "scaling": _scaling,
    "data": _data,
    "gpu": _gpu,
}

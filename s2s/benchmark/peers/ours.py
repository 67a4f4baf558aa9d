"""`s2s`: the model, the update and the search that the scripts use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from s2s.config import DecodingConfig, OptimConfig, TrainingConfig, build
from s2s.data.batching import Batch, collate, pad_source
from s2s.data.tokenizer import EOS
from s2s.decoding.graphs import GraphedSearch
from s2s.decoding.search import search
from s2s.decoding.translator import decoding_in, prepared
from s2s.devices import keep_freed_memory
from s2s.errors import S2SError
from s2s.models import build_model, count_parameters
from s2s.models.interface import Seq2Seq
from s2s.nn.recurrent import set_recurrence
from s2s.training.checkpoint import RunDirectory
from s2s.training.graphs import fixed
from s2s.training.step import Updater

STATUS = Path("/proc/self/status")


def section(shape: dict[str, Any]) -> dict[str, Any]:
    """The `model` section of a shape."""
    dropout = shape["dropout"]
    if shape["type"] == "transformer":
        part = {"type": "transformer", "dropout": dropout, "norm": "pre"}
        part |= {key: shape[key] for key in ("layers", "heads", "feedforward")}
        encoder, decoder, embedding = part, part, shape["size"]
    else:
        attention: dict[str, Any] = {"type": "fixed"}
        if shape["type"] == "recurrent":
            attention = {"type": "bahdanau", "size": shape["attention"]}
            attention |= {key: shape[key] for key in ("query", "input_feeding")}
        part = {"type": "recurrent", "cell": shape.get("cell", "lstm"), "layers": 1, "dropout": dropout}
        encoder = part | {"hidden_size": shape["encoder"], "bidirectional": True}
        decoder = part | {"hidden_size": shape["decoder"], "attention": attention}
        embedding = shape["embedding"]
    base = {"name": "benchmark", "embedding_size": embedding, "tie_embeddings": "none", "dropout": dropout}
    return {**base, "encoder": encoder, "decoder": decoder}


def _model(given: dict[str, Any]) -> Seq2Seq:
    keep_freed_memory()
    torch.set_num_threads(given["threads"])
    _limit(given["memory"], given["device"])
    torch.manual_seed(1)
    return build_model(section(given["shape"]), given["vocabulary"], given["vocabulary"]).to(given["device"])


def _limit(memory: float | None, device: str) -> None:
    """From here on the process gets no more than so many MiB; asking for more is an error that it can report."""
    if memory is None:
        return
    if device.startswith("cuda"):
        number = torch.device(device).index or 0
        total = torch.cuda.get_device_properties(number).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory * 2**20 / total), number)
        return
    import resource  # not on every system

    if not STATUS.exists():
        raise S2SError("a limit on memory needs Linux: set scaling.memory=null")
    has = next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmData"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (has + int(memory * 2**20), hard))


def _finished(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Fixed:
    """The batches as an epoch."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def num_batches(self, epoch: int) -> int:
        return len(self.batches)

    def batch(self, epoch: int, position: int) -> Batch:
        return self.batches[position]


def train(given: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model, device, graphed = _model(given), torch.device(given["device"]), given.get("graphs", False)
    set_recurrence(model, given.get("recurrence", "auto"), device)
    made = [_batch(arrays) for arrays in batches]
    made = [fixed(batch) for batch in made] if graphed else made
    data = _Fixed([batch.pinned() for batch in made] if device.type == "cuda" else made)
    configs = (
        build(TrainingConfig, {**given["training"], "precision": given["precision"]}),
        build(OptimConfig, given["optim"]),
    )
    updater = Updater(model, RunDirectory(Path("unused")), *configs, 1, device, graphed=graphed)

    def run() -> None:
        for position in range(len(batches)):
            updater.update(data, position + 1, 0, range(position, position + 1), stop=False)
        updater.flush_metrics({})
        _finished(device)

    return run, {"parameters": count_parameters(model)[0]}


def operations(run: Callable[[], None]) -> int:
    """What a pass takes of floating-point operations in products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _batch(arrays: dict[str, Any]) -> Batch:
    def rows(name: str) -> list[list[int]]:
        return [row[: np.flatnonzero(row == EOS)[0]].tolist() for row in arrays[name]]

    return collate(rows("source"), rows("target"), range(len(arrays["source"])))


def decode(given: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model = _model(given).eval()
    with torch.no_grad():
        model.get_parameter("output_bias")[EOS] = -1e4  # so that all run to the same length
    config = build(DecodingConfig, given["decoding"])
    parameters = count_parameters(model)[0]
    model, device = prepared(model, given["precision"]), torch.device(given["device"])
    searched = GraphedSearch(model) if given.get("graphs", False) else model

    def run() -> None:
        with decoding_in(given["precision"], device):
            for batch in batches:
                source, mask = pad_source([row[: np.flatnonzero(row == EOS)[0]] for row in batch["source"]])
                lengths = [int(batch["length"])] * len(source)
                found = search(searched, source.to(device), mask.to(device), config, lengths)
                assert all(len(row[0].tokens) == batch["length"] for row in found)

    return run, {"parameters": parameters}

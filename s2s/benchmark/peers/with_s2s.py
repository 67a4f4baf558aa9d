"""`s2s`: its model, update and search, as the scripts use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity
from torch.utils.flop_counter import FlopCounterMode

from s2s.benchmark.machine import system_file
from s2s.benchmark.shapes import model_section
from s2s.config import DecodingConfig, OptimConfig, TrainingConfig
from s2s.data.batching import Batch, collate, pad_with_eos
from s2s.data.tokenizer import EOS
from s2s.decoding.graphs import GraphedDecoder
from s2s.decoding.search import search
from s2s.decoding.translator import decoding_context, decoding_model
from s2s.devices import keep_freed_memory
from s2s.errors import S2SError
from s2s.models import build_model, count_parameters
from s2s.models.interface import Seq2Seq
from s2s.nn.recurrent import set_recurrence
from s2s.schema import build
from s2s.training.checkpoint import RunDirectory
from s2s.training.graphs import pad_to_captured_shape
from s2s.training.step import Updater


def _model(spec: dict[str, Any]) -> Seq2Seq:
    keep_freed_memory()
    torch.set_num_threads(spec["threads"])
    _limit(spec["memory"], spec["device"])
    torch.manual_seed(1)
    return build_model(model_section(spec["shape"]), spec["vocabulary"], spec["vocabulary"]).to(spec["device"])


def _limit(memory: float | None, device: str) -> None:
    """Limits the process to this many more MiB; exceeding the limit is an error that it can report."""
    if memory is None:
        return
    if device.startswith("cuda"):
        number = torch.device(device).index or 0
        total = torch.cuda.get_device_properties(number).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory * 2**20 / total), number)
        return
    import resource  # not on every system

    data = [line.split()[1] for line in system_file("/proc/self/status") if line.startswith("VmData")]
    if not data:
        raise S2SError("a limit on memory needs Linux: set scaling.memory=null")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(data[0]) + int(memory * 2**20), hard))


def train(spec: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model, device, graphed = _model(spec), torch.device(spec["device"]), spec.get("graphs", False)
    set_recurrence(model, spec.get("recurrence", "auto"), device)
    epoch = [pad_to_captured_shape(batch) if graphed else batch for batch in map(_batch, batches)]
    epoch = [batch.pinned() for batch in epoch] if device.type == "cuda" else epoch
    training = build(TrainingConfig, {**spec["training"], "precision": spec["precision"]})
    optim = build(OptimConfig, spec["optim"])
    updater = Updater(model, RunDirectory(Path("unused")), training, optim, 1, device, graphed=graphed)

    def run() -> None:
        for n, batch in enumerate(epoch):
            updater.update(n + 1, 0, range(n, n + 1), {n: batch}, stop=False)
        updater.flush_metrics({})

    return run, {"parameters": count_parameters(model)[0]}


def operations(run: Callable[[], None]) -> int:
    """Returns the floating-point operations of the matrix multiplications of a pass."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def profile(run: Callable[[], None]) -> list[dict[str, Any]]:
    """Returns the operations of a pass that take most time on the device: name, milliseconds in all, and calls."""
    activities, on_gpu = [ProfilerActivity.CPU], torch.cuda.is_available()
    with torch.profiler.profile(activities=activities + [ProfilerActivity.CUDA] * on_gpu) as profiler:
        run()
    rows = [
        {
            "name": event.key,
            "ms": (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000,
            "calls": event.count,
        }
        for event in profiler.key_averages()
        if event.device_type == DeviceType.CPU  # torch's operations, not the kernels that they start
    ]
    return sorted(rows, key=lambda row: -row["ms"])[:20]


def _sentences(ids: Any) -> list[list[int]]:
    return [row[: np.flatnonzero(row == EOS)[0]].tolist() for row in ids]


def _batch(arrays: dict[str, Any]) -> Batch:
    return collate(_sentences(arrays["source"]), _sentences(arrays["target"]), range(len(arrays["source"])))


def decode(spec: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model = _model(spec).eval()
    with torch.no_grad():
        model.get_parameter("output_bias")[EOS] = -1e4  # all hypotheses run to the same length
    config = build(DecodingConfig, spec["decoding"])
    parameters = count_parameters(model)[0]
    model, device = decoding_model(model, spec["precision"]), torch.device(spec["device"])
    decoder = GraphedDecoder(model) if spec.get("graphs", False) else model

    def run() -> None:
        with decoding_context(spec["precision"], device):
            for batch in batches:
                source, mask = pad_with_eos(_sentences(batch["source"]))
                lengths = [int(batch["length"])] * len(source)
                results = search(decoder, source.to(device), mask.to(device), config, lengths)
                assert all(len(n_best[0].tokens) == batch["length"] for n_best in results)

    return run, {"parameters": parameters}

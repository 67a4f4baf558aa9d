"""The expected duration of trainings, from a few updates on this machine before the first one begins."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from s2s.config import RunConfig
from s2s.data.batching import collate
from s2s.data.subwords import EOS
from s2s.files import read_json
from s2s.models import build_model
from s2s.nn.recurrent import RecurrentLayer
from s2s.training.checkpoint import RunDirectory

LENGTH = 25  # tokens of a sentence on average; in the built-in corpus 0.4 of the words of the longest
UPDATES = 3  # of which the first does not count
OVERHEAD_SECONDS = 24.0  # that a training takes besides its updates: to start, to validate, to evaluate, for the page


def training_seconds(config: RunConfig, path: Path, device: torch.device) -> float | None:
    """The expected remaining seconds of a training; None if validation decides its end.

    Args:
        config: with a dtype.
        path: its run directory.
    """
    training, size = config.training, max(config.data.tokenizer.vocab_size, EOS + 2)
    if training.max_steps is None:
        return None
    folder = RunDirectory(path).state_folder()
    updates = training.max_steps - (0 if folder is None else int(read_json(folder / "state.json")["step"]))
    if updates <= 0:
        return 0.0
    with torch.random.fork_rng(devices=[]):
        model = build_model(config.model, size, size).to(device)
        for layer in model.modules():
            if isinstance(layer, RecurrentLayer):
                layer.recurrence = config.recurrence
        length = min(int(0.4 * getattr(config.data, "longest", LENGTH / 0.4)), training.batch_tokens)
        sentences = min(training.batch_tokens // length, training.batch_sentences or training.batch_tokens)
        ids = torch.randint(EOS + 1, size, (2, sentences, length)).tolist()
        batch = collate(ids[0], ids[1], range(len(ids[0]))).to(device)
        times: list[float] = []
        for _ in range(UPDATES):
            began = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
                losses = model(batch, training.label_smoothing)
            (losses.loss / losses.tokens).backward()
            losses.loss.detach().item()  # waits for the device
            times.append(time.perf_counter() - began)
    return OVERHEAD_SECONDS + float(updates * training.accumulate) * min(times[1:])


def order(seconds: Mapping[str, float | None], at_once: int) -> list[str]:
    """The order in which to start jobs of which `at_once` run at a time.

    The longest job comes first, so that no core is idle at the end; with several cores the shortest comes second, for
    an early first result. If durations are unknown, later jobs count as longer: models are listed from fast to slow.
    """
    climbing = list(seconds)
    falling = sorted(climbing, key=lambda name: (seconds[name] or 0.0, climbing.index(name)), reverse=True)
    return [*falling[:1], *falling[-1:], *falling[1:-1]] if at_once > 1 and len(falling) > at_once else falling


def schedule(seconds: Sequence[float], at_once: int) -> float:
    """The end of the last job, if the longest begin first and `at_once` run at a time."""
    ends = [0.0] * at_once
    for one in sorted(seconds, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + one)
    return max(ends)

"""Toy model, data and validation for the tests of training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from s2s.config import OptimConfig, ScheduleConfig, TrainingConfig
from s2s.data.batching import Batch, collate
from s2s.models.interface import LossSums, Seq2Seq
from s2s.models.parts import freeze_parts
from s2s.training.callbacks import Callback
from s2s.training.checkpoint import RunDirectory
from s2s.training.step import Updater
from s2s.training.trainer import Trainer

VOCABULARY = 11
SCHEDULE = ScheduleConfig(type="constant", warmup=0, final=0.0, factor=0.5, patience=1)
OPTIM = OptimConfig(
    name="toy",
    optimizer="adam",
    lr=0.02,
    betas=(0.9, 0.98),
    eps=1e-8,
    momentum=0.0,
    weight_decay=0.01,
    clip_norm=1.0,
    clip_value=None,
    schedule=SCHEDULE,
)
TRAINING = TrainingConfig(
    name="toy",
    max_steps=12,
    max_epochs=None,
    batch_tokens=64,
    batch_sentences=None,
    accumulate=2,
    precision="fp32",
    label_smoothing=0.1,
    dropout=0.0,
    validate_every=4,
    metric="loss",
    patience=None,
    average="none",
    average_checkpoints=2,
    save_every=3,
    log_every=2,
    tensorboard=False,
)


class ToyModel(Seq2Seq):
    """Predicts each target token from the previous one and the mean of the source; embedding and output are tied."""

    seen: torch.Tensor  # number of training micro-batches; a buffer, to test that buffers are saved

    def __init__(self, dropout: float = 0.3, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.hidden = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, VOCABULARY)
        self.output.weight = self.embedding.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        weights = batch.source_mask / batch.source_mask.sum(1, keepdim=True)
        source = (self.embedding(batch.source) * weights[..., None].to(self.embedding.weight.dtype)).sum(1)
        hidden = torch.tanh(self.hidden(self.embedding(batch.target_input) + source[:, None]))
        log_probs = self.output(self.dropout(self.norm(hidden))).log_softmax(-1)[batch.target_mask]
        nll = -log_probs.gather(1, batch.target[batch.target_mask][:, None]).sum()
        smooth = -log_probs.mean(1).sum()
        if self.training:
            self.seen += 1
        loss = (1 - label_smoothing) * nll + label_smoothing * smooth
        return LossSums(loss, nll.detach(), batch.target_mask.sum())


class ToyData:
    """Random examples that follow from (seed, epoch, position): both sides are the same run of consecutive tokens."""

    def __init__(self, batches: int = 5, seed: int = 7) -> None:
        self.batches, self.seed = batches, seed

    def num_batches(self, epoch: int) -> int:
        return self.batches

    def batch(self, epoch: int, position: int) -> Batch:
        random = np.random.default_rng([self.seed, epoch, position])
        size = int(random.integers(1, 5))
        starts, lengths = random.integers(0, 7, size), random.integers(1, 7, size)
        rows = [[4 + (s + i) % 7 for i in range(n)] for s, n in zip(starts.tolist(), lengths.tolist(), strict=True)]
        return collate(rows, rows, list(range(len(rows))))


def validate(model: Seq2Seq) -> dict[str, float]:
    """Returns the loss on held-out toy batches. It also draws random numbers, which must not influence training."""
    torch.rand(3)
    assert not model.training
    sums = [model(ToyData(seed=99).batch(0, position)) for position in range(4)]
    loss = float(sum(s.nll for s in sums) / sum(s.tokens for s in sums))
    return {"valid_loss": loss, "valid_ppl": float(np.exp(loss)), "valid_bleu": 100 * float(np.exp(-loss))}


def make_trainer(path: Path, **options: Any) -> Trainer:
    """Returns a trainer of the toy; options are fields of the configuration, or arguments of the classes."""
    arguments = {"model", "data", "validate", "callbacks", "seed", "group", "graphed"}
    own = {key: options.pop(key) for key in arguments & set(options)}

    def override(section: Any) -> Any:
        names = {f.name for f in dataclasses.fields(section)}
        return dataclasses.replace(section, **{key: options.pop(key) for key in names & set(options)})

    training = override(TRAINING)
    frozen = options.pop("freeze", ())
    schedule = ScheduleConfig(**{**dataclasses.asdict(SCHEDULE), **options.pop("schedule", {})})
    optim = dataclasses.replace(override(OPTIM), schedule=schedule)
    assert not options, options
    model, device = own.pop("model", None) or ToyModel(), torch.device("cpu")
    freeze_parts(model, frozen)
    data, evaluation = own.pop("data", None) or ToyData(), own.pop("validate", None) or validate
    callbacks, seed = own.pop("callbacks", ()), own.pop("seed", 3)
    updater = Updater(model, RunDirectory(path), training, optim, seed, device, **own)
    return Trainer(updater, data, evaluation, callbacks)


class At(Callback):
    """Calls `action` after update `step`."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_step(self, step: int) -> None:
        if step == self.step:
            self.action()


def assert_same_run(first: Path, second: Path) -> None:
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert events(first) == events(second)


def events(path: Path, times: bool = False) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl, without the values that depend on the machine unless `times`."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    clock = () if times else ("seconds", "tokens_per_s", "waiting", "memory")
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]

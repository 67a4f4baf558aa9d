"""The compute dtype of training, `training.precision`: what `auto` takes, measured on the machine at hand.

bf16 (1 sign, 8 exponent, 7 fraction bits) needs no loss scaling, and processors that have instructions for it multiply
matrices in it two to eight times as fast as in fp32. Processors without them emulate it, twenty times slower than fp32.
So on a CPU both are timed, for a fraction of a second, on matrix multiplications of the model's own shapes; a GPU says
whether it has bf16 natively.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from s2s.devices import cpu_threads

Dtype = Literal["fp32", "bf16"]
DTYPES: dict[Dtype, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

GAIN = 1.3  # bf16 is taken where its multiplications are at least this many times as fast: casts cost time as well
SLOW = 3.0  # a dtype is warned about where the other one is more than this many times as fast
SECONDS = 0.15  # of measuring; a round that has begun is finished
ROUNDS = 20
OPERATIONS = 4e6  # of one multiplication at most: emulated bf16 takes 7 ms for it
ROWS = 256  # of the left matrix at most
MATRICES = 3

Shape = tuple[int, int]  # (out, in) of a weight


@dataclass(frozen=True)
class Rates:
    """Operations a second of the same matrix multiplications in either dtype, additions and multiplications counted."""

    fp32: float
    bf16: float

    def of(self, dtype: Dtype) -> float:
        return self.fp32 if dtype == "fp32" else self.bf16

    @property
    def faster(self) -> Dtype:
        """What `auto` takes."""
        return "bf16" if self.bf16 >= GAIN * self.fp32 else "fp32"

    def ratio_against(self, dtype: Dtype) -> float:
        """How many times as fast as `dtype` the other one is."""
        other: Dtype = "bf16" if dtype == "fp32" else "fp32"
        return self.of(other) / self.of(dtype)


@dataclass(frozen=True)
class Choice:
    """What `auto` takes, and a clause that says why."""

    precision: Dtype
    reason: str


def choose_precision(shapes: Iterable[Shape], device: torch.device) -> Choice:
    """The dtype to train in on `device`.

    Args:
        shapes: (out, in) of the weight matrices of the models to train; they matter on a CPU alone.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bf16", f"{name} has it natively")
        return Choice("fp32", f"{name} has no native bf16")
    if device.type != "cpu":
        return Choice("fp32", f"bf16 is not tried on {device.type}")
    rates = measured_rates(shapes)
    chosen = rates.faster
    other: Dtype = "fp32" if chosen == "bf16" else "bf16"
    return Choice(
        chosen,
        f"{rates.of(chosen) / 1e9:.3g} GFLOP/s on matrix multiplications of the model's shapes, and "
        f"{rates.of(other) / 1e9:.3g} in {other}; bf16 is taken from {GAIN} times fp32 on",
    )


def measured_rates(shapes: Iterable[Shape]) -> Rates:
    """Both rates on one thread of this CPU.

    The largest few matrices are taken, cut to size where they are huge. Both dtypes take turns and the median round
    counts, so that what else the machine does disturbs neither (several threads would wait for each other).
    """
    with cpu_threads(1):
        return _measured(shapes)


def _measured(shapes: Iterable[Shape]) -> Rates:
    largest = _largest(shapes)  # once: `shapes` may be an iterator, and both dtypes must multiply the same
    pairs = {dtype: [_operands(*shape, kind) for shape in largest] for dtype, kind in DTYPES.items()}
    operations = sum(2 * left.shape[0] * right.numel() for left, right in pairs["fp32"])
    seconds: dict[Dtype, list[float]] = {dtype: [] for dtype in pairs}  # of each round
    began = time.perf_counter()
    for number in range(ROUNDS + 1):
        for dtype, operands in pairs.items():
            before = time.perf_counter()
            for left, right in operands:
                torch.mm(left, right)
            if number:  # the first round makes the library's plans
                seconds[dtype].append(time.perf_counter() - before)
        if number and time.perf_counter() - began > SECONDS:
            break
    return Rates(*(operations / max(median(seconds[dtype]), 1e-9) for dtype in ("fp32", "bf16")))


def _largest(shapes: Iterable[Shape]) -> Sequence[Shape]:
    """Different shapes, those with most elements first; a square one where there is none."""
    return sorted(set(shapes), key=lambda shape: (-shape[0] * shape[1], shape))[:MATRICES] or [(128, 128)]


def _operands(out: int, inner: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """(rows, in) and (in, out), of as many rows and columns as stay within `OPERATIONS`."""
    inner = min(inner, 4096)
    out = max(1, min(out, int(OPERATIONS / (2 * 16 * inner))))
    rows = max(16, min(ROWS, int(OPERATIONS / (2 * inner * out))))
    return torch.ones(rows, inner, dtype=kind), torch.ones(out, inner, dtype=kind).t()

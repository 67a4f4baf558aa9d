"""Compute dtype of training: the choice of `training.precision=auto`, measured on this machine.

bf16 (1 sign, 8 exponent, 7 fraction bits) needs no loss scaling. Processors with bf16 instructions multiply matrices
two to eight times as fast as in fp32; processors without them emulate bf16, twenty times slower than fp32. So on a CPU
both dtypes are timed, for a fraction of a second, on matrix multiplications of the model's own shapes. A GPU reports
whether it has native bf16.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from s2s.devices import cpu_threads

Dtype = Literal["fp32", "bf16"]
DTYPES: dict[Dtype, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

GAIN = 1.3  # minimum GEMM speedup for which bf16 is chosen: casts cost time as well
SLOW = 3.0  # GEMM speedup of the other dtype above which a dtype gets a warning
SECONDS = 0.15  # of measuring; the last round is finished
ROUNDS = 20
OPERATIONS = 4e6  # maximum of one multiplication: emulated bf16 takes 7 ms for it
ROWS = 256  # maximum of the left matrix
MATRICES = 3

Shape = tuple[int, int]  # (out, in) of a weight


@dataclass(frozen=True)
class Rates:
    """GEMM throughput in either dtype: additions and multiplications a second."""

    fp32: float
    bf16: float

    def of(self, dtype: Dtype) -> float:
        return self.fp32 if dtype == "fp32" else self.bf16

    def ratio_against(self, dtype: Dtype) -> float:
        """Returns the speedup of the other dtype over `dtype`."""
        return self.bf16 / self.fp32 if dtype == "fp32" else self.fp32 / self.bf16


@dataclass(frozen=True)
class Choice:
    """The dtype that `auto` chooses, and the reason as a clause."""

    precision: Dtype
    reason: str


def choose_precision(shapes: Iterable[Shape], device: torch.device) -> Choice:
    """Returns the dtype of training on `device`; on a CPU it depends on the `shapes` (out, in) of weight matrices."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bf16", f"{name} has it natively")
        return Choice("fp32", f"{name} has no native bf16")
    if device.type != "cpu":
        return Choice("fp32", f"bf16 is not tried on {device.type}")
    rates = measured_rates(shapes)
    choice: Dtype = "bf16" if rates.bf16 >= GAIN * rates.fp32 else "fp32"
    other: Dtype = "fp32" if choice == "bf16" else "bf16"
    return Choice(
        choice,
        f"{rates.of(choice) / 1e9:.3g} GFLOP/s on matrix multiplications of the model's shapes, and "
        f"{rates.of(other) / 1e9:.3g} in {other}; bf16 needs a speedup of {GAIN}",
    )


@cpu_threads(1)  # several threads would wait for each other
def measured_rates(shapes: Iterable[Shape]) -> Rates:
    """Measures both rates on one thread of this CPU, on the largest of the shapes, reduced to at most `OPERATIONS`.

    Both dtypes take turns and the median round counts, so that other work on the machine disturbs neither.
    """
    largest = sorted(set(shapes), key=lambda shape: (-shape[0] * shape[1], shape))[:MATRICES] or [(128, 128)]
    operands = {name: [_operands(*shape, dtype) for shape in largest] for name, dtype in DTYPES.items()}
    operations = sum(2 * left.shape[0] * right.numel() for left, right in operands["fp32"])
    seconds: dict[Dtype, list[float]] = {name: [] for name in operands}  # of each round
    start = time.perf_counter()
    for number in range(ROUNDS + 1):
        for name, pairs in operands.items():
            before = time.perf_counter()
            for left, right in pairs:
                torch.mm(left, right)
            if number:  # the first round is a warm-up of the library
                seconds[name].append(time.perf_counter() - before)
        if number and time.perf_counter() - start > SECONDS:
            break
    return Rates(*(operations / max(median(seconds[name]), 1e-9) for name in ("fp32", "bf16")))


def _operands(out: int, inner: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns matrices (rows, in) and (in, out) whose product takes at most `OPERATIONS`."""
    inner = min(inner, 4096)
    out = max(1, min(out, int(OPERATIONS / (2 * 16 * inner))))
    rows = max(16, min(ROWS, int(OPERATIONS / (2 * inner * out))))
    return torch.ones(rows, inner, dtype=dtype), torch.ones(out, inner, dtype=dtype).t()

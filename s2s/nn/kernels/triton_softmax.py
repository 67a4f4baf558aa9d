"""Softmax of each row of logits on a GPU, in place: one pass to read them, one to write.

torch's functions make five passes, over numbers of 32 bits. See `s2s.nn.loss`. The running maximum and sum are those of
Milakov and Gimelshein 2018, "Online normalizer calculation for softmax".
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_CLASSES = 2048  # that a program reads at a time


@triton.jit  # type: ignore[untyped-decorator]
def _softmax_rows(logits, log_sums, weights, classes, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program per row."""
    row = tl.program_id(0).to(tl.int64)
    first, largest, total = logits + row * classes, -float("inf"), 0.0
    for start in range(0, classes, block):
        c = start + tl.arange(0, block)
        z = tl.load(first + c, mask=c < classes, other=-float("inf")).to(tl.float32)
        new = tl.maximum(largest, tl.max(z, axis=0))
        total = total * tl.exp(largest - new) + tl.sum(tl.exp(z - new), axis=0)
        largest = new
    tl.store(log_sums + row, largest + tl.log(total))
    factor = tl.load(weights + row) / total
    for start in range(0, classes, block):
        c = start + tl.arange(0, block)
        z = tl.load(first + c, mask=c < classes, other=-float("inf")).to(tl.float32)
        tl.store(first + c, tl.exp(z - largest) * factor, mask=c < classes)


def softmax_(logits: Tensor, log_sums: Tensor, weights: Tensor) -> Tensor:
    """Replaces logits (N, V) by weights (N,) times their softmax, and fills log_sums (N,) with logΣexp; contiguous."""
    rows, classes = logits.shape
    _softmax_rows[(rows,)](logits, log_sums, weights, classes, block=min(_CLASSES, triton.next_power_of_2(classes)))
    return logits


def probe(device: torch.device) -> None:
    """Runs the kernel once."""
    ones = torch.ones(1, device=device)
    softmax_(torch.zeros(1, 3, device=device), torch.empty_like(ones), ones)

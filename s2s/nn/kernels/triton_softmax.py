"""Softmax of each row of logits on a GPU, in place: one pass to read them, one to write.

torch's functions make five passes, over numbers of 32 bits. See `s2s.nn.loss`. The running maximum and sum are those of
Milakov and Gimelshein 2018, "Online normalizer calculation for softmax".
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2s.nn.kernels.triton_modules import compare, numbers

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
    """Compares the kernel with torch's functions, on rows of more than one block."""
    weights = numbers(3, device=device)
    for dtype in (torch.float32, torch.bfloat16):
        logits, log_sums = numbers(3, _CLASSES + 5, device=device, dtype=dtype), torch.empty_like(weights)
        expected = logits.float().softmax(dim=1) * weights[:, None], logits.float().logsumexp(dim=1)
        compare("probabilities", softmax_(logits, log_sums, weights), expected[0])
        compare("sums", log_sums, expected[1])

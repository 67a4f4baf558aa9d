"""Additive scores e = 2 v · σ(k + q) and their gradients on a GPU, without the (…, S, A) numbers in memory.

With torch's functions each step of `s2s.nn.kernels.attention` writes and reads those numbers several times, and all
steps store them for the backward pass. These Triton kernels compute them again from keys and queries instead, which
takes a GPU less time than reading them would. Arithmetic is fp32. There are no atomic additions, so that repetitions
have the same bits.

Letters as in `s2s.nn.kernels.attention`; k and q are the doubled keys and queries, so that 2 σ(k + q) - 1 is their
tanh. Importing this module needs Triton, which torch's builds for CUDA bring along; running it needs a C compiler, too.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2s.nn.kernels.attention import Scores, StoredScores
from s2s.nn.kernels.triton_modules import compare, numbers

_SOURCE, _WIDTH = 16, 128  # positions and columns that a program computes at a time
_SIZES = ["batch", "source", "steps"]  # one compilation for all of them


@triton.jit(do_not_specialize=_SIZES)
def _sigmoids(keys, sentence, source, s, width, a, query):  # type: ignore[no-untyped-def]
    """(block_s, block_a) σ of one query of a sentence and its keys."""
    real = (s < source)[:, None] & (a < width)[None, :]
    key = tl.load(keys + (sentence.to(tl.int64) * source + s)[:, None] * width + a[None, :], mask=real, other=0.0)
    return tl.sigmoid(key.to(tl.float32) + query.to(tl.float32)[None, :])


@triton.jit(do_not_specialize=_SIZES)  # type: ignore[untyped-decorator]
def _score(queries, keys, v, scores, source, width, block_s: tl.constexpr, block_a: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program per sentence and block of positions: a sum over all columns."""
    sentence = tl.program_id(0)
    s = tl.program_id(1) * block_s + tl.arange(0, block_s)
    total = tl.zeros((block_s,), tl.float32)
    for start in range(0, width, block_a):
        a = start + tl.arange(0, block_a)
        query = tl.load(queries + sentence.to(tl.int64) * width + a, mask=a < width, other=0.0)
        energy = tl.load(v + a, mask=a < width, other=0.0).to(tl.float32)
        total += tl.sum(_sigmoids(keys, sentence, source, s, width, a, query) * energy[None, :], axis=1)
    tl.store(scores + sentence.to(tl.int64) * source + s, 2 * total, mask=s < source)


@triton.jit(do_not_specialize=_SIZES)  # type: ignore[untyped-decorator]
def _query_gradient(des, queries, keys, v, dqueries, source, width, block_s: tl.constexpr, block_a: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program per sentence and block of columns: a sum over all positions."""
    sentence = tl.program_id(0)
    a = tl.program_id(1) * block_a + tl.arange(0, block_a)
    query = tl.load(queries + sentence.to(tl.int64) * width + a, mask=a < width, other=0.0)
    energy = tl.load(v + a, mask=a < width, other=0.0).to(tl.float32)
    total = tl.zeros((block_a,), tl.float32)
    for start in range(0, source, block_s):
        s = start + tl.arange(0, block_s)
        de = tl.load(des + sentence.to(tl.int64) * source + s, mask=s < source, other=0.0)
        p = _sigmoids(keys, sentence, source, s, width, a, query)
        total += tl.sum(de[:, None] * p * (1 - p), axis=0)
    tl.store(dqueries + sentence.to(tl.int64) * width + a, 4 * total * energy, mask=a < width)


@triton.jit(do_not_specialize=_SIZES)  # type: ignore[untyped-decorator]
def _key_gradient(  # type: ignore[no-untyped-def]
    des, queries, keys, v, dkeys, dv, batch, source, steps, width, block_s: tl.constexpr, block_a: tl.constexpr
):
    """A program per sentence, block of positions and block of columns: a sum over all steps."""
    sentence, block = tl.program_id(0), tl.program_id(1)
    s = block * block_s + tl.arange(0, block_s)
    a = tl.program_id(2) * block_a + tl.arange(0, block_a)
    energy = tl.load(v + a, mask=a < width, other=0.0).to(tl.float32)
    total, total_v = tl.zeros((block_s, block_a), tl.float32), tl.zeros((block_a,), tl.float32)
    for t in range(0, steps):
        row = (t * batch + sentence).to(tl.int64)
        query = tl.load(queries + row * width + a, mask=a < width, other=0.0)
        de = tl.load(des + row * source + s, mask=s < source, other=0.0)
        p = _sigmoids(keys, sentence, source, s, width, a, query)
        weighted = de[:, None] * p
        total += weighted * (1 - p)
        total_v += tl.sum(weighted, axis=0)
    real = (s < source)[:, None] & (a < width)[None, :]
    at = (sentence.to(tl.int64) * source + s)[:, None] * width + a[None, :]
    tl.store(dkeys + at, 4 * total * energy[None, :], mask=real)
    tl.store(dv + (sentence.to(tl.int64) * tl.num_programs(1) + block) * width + a, 2 * total_v, mask=a < width)


class FusedScores:
    """`s2s.nn.kernels.attention.Scores` with these kernels; v (A,) in fp32."""

    def __init__(self, v: Tensor, compute: torch.dtype) -> None:
        self.v, self.compute = v.contiguous(), compute

    def begin_forward(self, keys: Tensor, steps: int) -> tuple[Tensor, ...]:
        batch, _, width = keys.shape
        self.keys = (2 * keys).contiguous()
        self.queries = keys.new_empty(steps, batch, width, dtype=self.compute)
        return self.keys, self.queries

    def forward(self, t: int, query: Tensor) -> Tensor:
        self.queries[t].copy_(query)
        batch, source, width = self.keys.shape
        scores = self.v.new_empty(batch, source)
        grid = (batch, triton.cdiv(source, _SOURCE))
        _score[grid](self.queries[t], self.keys, self.v, scores, source, width, block_s=_SOURCE, block_a=_WIDTH)
        return scores

    def begin_backward(self, *saved: Tensor) -> None:
        self.keys, self.queries = saved

    def backward(self, t: int, de: Tensor, out: Tensor) -> Tensor:
        batch, source, width = self.keys.shape
        grid = (batch, triton.cdiv(width, _WIDTH))
        tensors = (de, self.queries[t], self.keys, self.v, out)
        _query_gradient[grid](*tensors, source, width, block_s=_SOURCE, block_a=_WIDTH)
        return out

    def gradients(self, des: Tensor) -> tuple[Tensor, Tensor]:
        batch, source, width = self.keys.shape
        grid = (batch, triton.cdiv(source, _SOURCE), triton.cdiv(width, _WIDTH))
        dkeys, dv = self.v.new_empty(self.keys.shape), self.v.new_empty(grid[0] * grid[1], width)
        sizes = (batch, source, len(self.queries), width)
        _key_gradient[grid](des, self.queries, self.keys, self.v, dkeys, dv, *sizes, block_s=_SOURCE, block_a=_WIDTH)
        return dkeys, dv.sum(0, keepdim=True)


def probe(device: torch.device) -> None:
    """Compares each kernel with torch's functions, on more than one block in each direction."""
    steps, batch, source, width = 2, 2, _SOURCE + 1, _WIDTH + 1
    v, des = numbers(width, device=device), numbers(steps, batch, source, device=device)
    for compute in (torch.float32, torch.bfloat16):
        keys = numbers(batch, source, width, device=device, dtype=compute)
        queries = numbers(steps, batch, width, device=device, dtype=compute)
        found = _results(FusedScores(v, compute), keys, queries, des)
        expected = _results(StoredScores(v, torch.float32), keys.float(), queries.float(), des)
        for what, one in found.items():
            compare(f"{what} in {compute}", one, expected[what])


def _results(scores: Scores, keys: Tensor, queries: Tensor, des: Tensor) -> dict[str, Tensor]:
    """The scores of (T, B, A) queries, and all gradients."""
    saved = scores.begin_forward(keys, len(queries))
    found = torch.stack([scores.forward(t, query) for t, query in enumerate(queries)])
    scores.begin_backward(*saved)
    rows = [scores.backward(t, de, torch.empty_like(queries[t])) for t, de in enumerate(des)]
    dkeys, dv = scores.gradients(des)
    return {"scores": found, "gradients of queries": torch.stack(rows), "gradients of keys": dkeys, "gradient of v": dv}

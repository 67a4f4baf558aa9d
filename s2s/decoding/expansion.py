"""One step of search: the extensions of the live hypotheses of each sentence, by rank or by sampling.

`beam_candidates` and `sample_candidates` take the logits of the next token and return `Candidates`: the hypotheses that
go on, one token longer, and those that end. The loop around them is `s2s.decoding.search`. The ids below `</s>`
(`<pad>`, `<unk>`, `<s>`) are never chosen; their probability is not redistributed.

Shapes: B sentences, W live hypotheses of each (1 in the first step of a beam, then K), K beam slots, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from s2s.data.tokenizer import EOS

DEAD = -float("inf")  # log-probability of an empty beam slot
LOG2_E = math.log2(math.e)
BLOCK = 64  # tokens
CHUNK = 1 << 18  # logits
FINITE = -torch.finfo(torch.float32).max / 2, torch.finfo(torch.float32).max / 2


class Candidates(NamedTuple):
    """Extensions of the W live hypotheses of each sentence: K that go on, and those of the W that end."""

    parent: Tensor  # (B, K) index of the extended hypothesis, below W
    token: Tensor  # (B, K) its next token
    log_prob: Tensor  # (B, K) with that token; DEAD for an empty slot
    ends: Tensor  # (B, W) whether the hypothesis ends with </s>
    finished: Tensor  # (B,) whether the beam of the sentence is empty

    def select(self, sentences: Tensor) -> Candidates:
        return Candidates(*(tensor.index_select(0, sentences) for tensor in self))


def beam_candidates(logits: Tensor, statistics: RowStatistics, log_prob: Tensor, width: int) -> Candidates:
    """Returns the K best extensions of each sentence that do not end, and those that end among its K best of all.

    Args:
        logits: (B, W, V) of the next token.
        statistics: of these logits.
        log_prob: (B, W) of the live hypotheses.
        width: K.
    """
    # Each hypothesis ranks its own tokens by their logits: rounding in the sums can make different ones equal. So K = 1
    # is always argmax.
    count = min(2 * width, logits.size(2) - EOS)
    values, token = stable_topk(logits.flatten(0, 1), count + EOS, statistics.block_maxima)
    allowed = (token < EOS).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]  # special tokens go last
    values, token = values.gather(1, allowed), token.gather(1, allowed)
    sums = log_prob.unsqueeze(2) + (values.view(*log_prob.shape, count) - statistics.logsumexp.unsqueeze(2))
    sums, order = sums.flatten(1).sort(dim=1, descending=True, stable=True)
    sums, order = sums[:, : 2 * width], order[:, : 2 * width]
    parent, token = order // count, token.view(len(order), -1).gather(1, order)
    if (missing := 2 * width - order.size(1)) > 0:  # a tiny vocabulary has fewer extensions than slots
        sums, parent, token = pad(sums, (0, missing), value=DEAD), pad(parent, (0, missing)), pad(token, (0, missing))
        token[:, -missing:] = EOS

    is_eos = token == EOS
    first = (is_eos & (sums > DEAD))[:, :width]
    hypothesis = torch.arange(log_prob.size(1), device=parent.device)
    ends = ((parent[:, :width, None] == hypothesis) & first.unsqueeze(2)).any(1)
    live = is_eos.int().argsort(dim=1, stable=True)[:, :width]
    sums = sums.masked_fill(is_eos, DEAD)
    return Candidates(parent.gather(1, live), token.gather(1, live), sums.gather(1, live), ends, first.all(1))


class RowStatistics(NamedTuple):
    """Log-sum-exp of each row of logits, and the maximum of each block of it."""

    logsumexp: Tensor  # (B, W) in float32 or wider
    block_maxima: Tensor  # (B, W, V // BLOCK) of each block of BLOCK tokens; the remainder has no block


def row_statistics(logits: Tensor) -> RowStatistics:
    """Returns the statistics of (B, W, V) logits of any dtype.

    Some rows at a time go through one buffer that fits into the cache: the arithmetic is cheaper than memory traffic
    only there. On CPUs 2^x is four times as fast as e^x, and maxima in float32 are ten times as fast as in bf16.
    """
    rows, blocks = logits.flatten(0, 1), logits.size(2) // BLOCK
    end = blocks * BLOCK
    dtype = torch.promote_types(logits.dtype, torch.float32)
    size = max(1, CHUNK // rows.size(1)) if logits.device.type == "cpu" else len(rows)
    buffer = rows.new_empty(min(size, len(rows)), rows.size(1), dtype=dtype)
    total, maxima = rows.new_empty(len(rows), dtype=dtype), rows.new_empty(len(rows), blocks, dtype=dtype)
    for start in range(0, len(rows), size):
        chunk = buffer[: len(rows) - start].copy_(rows[start : start + size])
        torch.amax(chunk[:, :end].unflatten(1, (blocks, BLOCK)), 2, out=maxima[start : start + size])  # type: ignore[no-untyped-call]
        candidates = maxima[start : start + size]
        if end < chunk.size(1):
            candidates = torch.cat([candidates, chunk[:, end:]], 1)
        # Clamped to finite numbers: the difference of two infinities would be nan.
        row_max = candidates.amax(dim=1, keepdim=True).clamp_(*FINITE)
        sums = torch.add(-LOG2_E * row_max, chunk, alpha=LOG2_E, out=chunk).exp2_().sum(dim=1)
        torch.add(sums.log_(), row_max.squeeze(1), out=total[start : start + size])
    return RowStatistics(total.view(logits.shape[:2]), maxima.view(*logits.shape[:2], blocks))


def stable_topk(values: Tensor, count: int, block_maxima: Tensor) -> tuple[Tensor, Tensor]:
    """(N, count) largest values of each row, largest first, and their positions; ties by lowest position.

    Only the `count` blocks with the largest maxima are searched (ties by position too): each of them has an element
    that ranks before any element of another block.

    Args:
        values: (N, V), count <= V.
        block_maxima: (…, V // BLOCK) as in `RowStatistics`.
    """
    (rows, size), blocks = values.shape, block_maxima.size(-1)
    if blocks <= 2 * count:
        return _stable_topk(values, count)
    # One block more than needed: torch.topk takes half the time for no more than a 64th of a row.
    chosen = _stable_topk(block_maxima.flatten(0, -2), count + 1)[1].sort(dim=1).values
    row, end = torch.arange(rows, device=values.device).unsqueeze(1), blocks * BLOCK
    inside = values[:, :end].unflatten(1, (blocks, BLOCK))[row, chosen].flatten(1)  # type: ignore[no-untyped-call]
    largest, index = _stable_topk(torch.cat([inside, values[:, end:]], 1) if end < size else inside, count)
    block = torch.div(index, BLOCK, rounding_mode="floor").clamp_(max=count)
    position = chosen.gather(1, block) * BLOCK + index - block * BLOCK
    return largest, torch.where(index < inside.size(1), position, index - inside.size(1) + end)


def _stable_topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`stable_topk` over whole rows.

    `torch.topk` does not specify which of several equal values it returns. One value more than needed shows the rows
    in which this matters; a second pass resolves these.
    """
    if count == values.size(1):
        ranked, order = values.sort(dim=1, descending=True, stable=True)
        return ranked, order
    largest, position = values.topk(count + 1, 1)
    ambiguous = largest[:, count] == largest[:, count - 1]
    largest, position = largest[:, :count], position[:, :count]
    if bool(ambiguous.any()):
        rows = ambiguous.nonzero().squeeze(1)
        lowest = largest[rows, -1:]
        columns = torch.arange(values.size(1), device=values.device)
        equal = torch.where(values[rows] == lowest, columns, values.size(1))
        equal = equal.topk(count, 1, largest=False).values.sort(dim=1).values
        above = (largest[rows] > lowest).sum(1, keepdim=True)  # these are certain; equal values fill the other slots
        slot = torch.arange(count, device=values.device)
        filler = equal.gather(1, (slot - above).clamp(min=0))
        position = position.index_copy(0, rows, torch.where(slot < above, position[rows], filler))
    position = position.sort(dim=1).values
    ranked, order = values.gather(1, position).sort(dim=1, descending=True, stable=True)
    return ranked, position.gather(1, order)


def sample_candidates(
    logits: Tensor, logsumexp: Tensor, log_prob: Tensor, uniform: Tensor, temperature: float
) -> Candidates:
    """Draws one token for each hypothesis from softmax(logits / temperature).

    Args:
        logits, log_prob: as for `beam_candidates`, with W = K.
        logsumexp: (B, K) of the logits.
        uniform: (B, K) random numbers in [0, 1).
        temperature: above 0; log-probabilities remain those of temperature 1.
    """
    logits = logits[..., EOS:]
    cumulative = (logits.to(uniform.dtype) / temperature).softmax(-1).cumsum(-1)
    threshold = uniform.unsqueeze(2) * cumulative[..., -1:]
    index = torch.searchsorted(cumulative, threshold, right=True).clamp(max=logits.size(2) - 1)
    sums = log_prob + (logits.gather(2, index).squeeze(2) - logsumexp)
    ends = index.squeeze(2) == 0
    parent = torch.arange(ends.size(1), device=ends.device).expand_as(ends)
    finished = torch.zeros_like(ends[:, 0])
    return Candidates(parent, index.squeeze(2) + EOS, sums.masked_fill(ends, DEAD), ends, finished)


def uniform_numbers(seed: int, keys: Sequence[int], count: int, limits: Sequence[int]) -> Tensor:
    """(B, count, longest limit + 1) random numbers; those of a sample depend only on (seed, key, sample number)."""
    numbers = torch.zeros((len(limits), count, max(limits) + 1), dtype=torch.float64)
    generator = torch.Generator()
    for row, key, limit in zip(numbers, keys, limits, strict=True):
        for sample in range(count):
            digest = hashlib.blake2b(f"{seed} {key} {sample}".encode(), digest_size=8).digest()
            generator.manual_seed(int.from_bytes(digest, "big") >> 1)
            row[sample, : limit + 1].uniform_(generator=generator)
    return numbers

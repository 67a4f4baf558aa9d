"""One step of search: how the live hypotheses of each sentence go on, by rank or by chance.

Both rules take the logits of the next token and give a `Choice`: which hypotheses are extended by which tokens, and
which of them end. The loop around them is in `s2s.decoding.search`. The ids below `</s>` (`<pad>`, `<unk>`, `<s>`) are
never chosen; their probability is not shared out among the others.

Shapes: B sentences, W live hypotheses of each (1 in the first step of a beam, then K), K places for the next step, V
vocabulary.
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

DEAD = -float("inf")  # log-probability of an empty place in a beam
LOG2_E = math.log2(math.e)
BLOCK = 64
CHUNK = 1 << 18  # numbers
FINITE = -torch.finfo(torch.float32).max / 2, torch.finfo(torch.float32).max / 2


class Choice(NamedTuple):
    """How the W live hypotheses of each sentence go on: as K longer ones, except those that end."""

    parent: Tensor  # (B, K) which of the W is extended
    token: Tensor  # (B, K) by which token
    log_prob: Tensor  # (B, K) of the extended one; DEAD for an empty place
    ending: Tensor  # (B, W) which of the W finish with </s>
    closed: Tensor  # (B,) nothing is left in the beam of this sentence

    def select(self, sentences: Tensor) -> Choice:
        return Choice(*(tensor.index_select(0, sentences) for tensor in self))


def best(logits: Tensor, survey: Survey, log_prob: Tensor, width: int) -> Choice:
    """The K best extensions of each sentence that do not end, and those that end among its K best of all.

    Args:
        logits: (B, W, V) of the next token.
        survey: of these logits.
        log_prob: (B, W) of the live hypotheses.
        width: K.
    """
    # Each hypothesis ranks its own tokens by their logits, before rounding in the sums can make different ones equal:
    # so K = 1 is argmax, always.
    each = min(2 * width, logits.size(2) - EOS)
    values, token = top(logits.flatten(0, 1), each + EOS, survey.maxima)
    real = (token < EOS).to(torch.uint8).argsort(dim=1, stable=True)[:, :each]  # what is never chosen goes last
    values, token = values.gather(1, real), token.gather(1, real)
    sums = log_prob.unsqueeze(2) + (values.view(*log_prob.shape, each) - survey.total.unsqueeze(2))
    sums, order = sums.flatten(1).sort(dim=1, descending=True, stable=True)
    sums, order = sums[:, : 2 * width], order[:, : 2 * width]
    parent, token = order // each, token.view(len(order), -1).gather(1, order)
    if (missing := 2 * width - order.size(1)) > 0:  # fewer extensions than places: a tiny vocabulary
        sums, parent, token = pad(sums, (0, missing), value=DEAD), pad(parent, (0, missing)), pad(token, (0, missing))
        token[:, -missing:] = EOS

    ends = token == EOS
    first = (ends & (sums > DEAD))[:, :width]
    hypothesis = torch.arange(log_prob.size(1), device=parent.device)
    ending = ((parent[:, :width, None] == hypothesis) & first.unsqueeze(2)).any(1)
    live = ends.int().argsort(dim=1, stable=True)[:, :width]
    sums = sums.masked_fill(ends, DEAD)
    return Choice(parent.gather(1, live), token.gather(1, live), sums.gather(1, live), ending, first.all(1))


class Survey(NamedTuple):
    """What is known of a step's logits after one look at all of them."""

    total: Tensor  # (B, W) their logsumexp, in float32 or wider
    maxima: Tensor  # (B, W, V // BLOCK) the largest of each block of BLOCK tokens; what is left has no block


def survey(logits: Tensor) -> Survey:
    """Looks at (B, W, V) logits of any type.

    A few rows at a time in the same memory, which costs less than the arithmetic only where it is in the cache; and on
    CPUs 2^x is four times as fast as e^x, and maxima in float32 are ten times as fast as in bf16.
    """
    rows, blocks = logits.flatten(0, 1), logits.size(2) // BLOCK
    end = blocks * BLOCK
    exact = torch.promote_types(logits.dtype, torch.float32)
    size = max(1, CHUNK // rows.size(1)) if logits.device.type == "cpu" else len(rows)
    room = rows.new_empty(min(size, len(rows)), rows.size(1), dtype=exact)
    total, maxima = rows.new_empty(len(rows), dtype=exact), rows.new_empty(len(rows), blocks, dtype=exact)
    for start in range(0, len(rows), size):
        part = room[: len(rows) - start].copy_(rows[start : start + size])
        torch.amax(part[:, :end].unflatten(1, (blocks, BLOCK)), 2, out=maxima[start : start + size])  # type: ignore[no-untyped-call]
        largest = maxima[start : start + size]
        if end < part.size(1):
            largest = torch.cat([largest, part[:, end:]], 1)
        # Within the finite numbers, so that a difference of infinities is none.
        most = largest.amax(dim=1, keepdim=True).clamp_(*FINITE)
        sums = torch.add(-LOG2_E * most, part, alpha=LOG2_E, out=part).exp2_().sum(dim=1)
        torch.add(sums.log_(), most.squeeze(1), out=total[start : start + size])
    return Survey(total.view(logits.shape[:2]), maxima.view(*logits.shape[:2], blocks))


def top(values: Tensor, count: int, maxima: Tensor) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row, largest first, and their positions; equal ones by position, the lowest first.

    A row is looked at in blocks: none of the `count` largest is outside of the `count` blocks with the largest maxima,
    equal ones by position too. For an element elsewhere, each of these has one that comes before it.

    Args:
        values: (N, V), count <= V.
        maxima: (…, V // BLOCK) as in `Survey`.

    Returns:
        (N, count) values and positions.
    """
    (rows, size), blocks = values.shape, maxima.size(-1)
    if blocks <= 2 * count:
        return _top(values, count)
    # One block more than needed: torch.topk takes half the time when it is asked for no more than a 64th of a row.
    chosen = _top(maxima.flatten(0, -2), count + 1)[1].sort(dim=1).values
    row, end = torch.arange(rows, device=values.device).unsqueeze(1), blocks * BLOCK
    inside = values[:, :end].unflatten(1, (blocks, BLOCK))[row, chosen].flatten(1)  # type: ignore[no-untyped-call]
    found, position = _top(torch.cat([inside, values[:, end:]], 1) if end < size else inside, count)
    place = torch.div(position, BLOCK, rounding_mode="floor").clamp_(max=count)
    place = chosen.gather(1, place) * BLOCK + position - place * BLOCK
    return found, torch.where(position < inside.size(1), place, position - inside.size(1) + end)


def _top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`top` over whole rows.

    `torch.topk` leaves open which of several equal values it takes. It is asked for one more than needed, which shows
    the rows where that matters, and these are settled by a second pass.
    """
    if count == values.size(1):
        ranked, order = values.sort(dim=1, descending=True, stable=True)
        return ranked, order
    found, position = values.topk(count + 1, 1)
    unclear = found[:, count] == found[:, count - 1]
    found, position = found[:, :count], position[:, :count]
    if bool(unclear.any()):
        rows = unclear.nonzero().squeeze(1)
        lowest = found[rows, -1:]
        everywhere = torch.arange(values.size(1), device=values.device)
        equal = torch.where(values[rows] == lowest, everywhere, values.size(1))
        equal = equal.topk(count, 1, largest=False).values.sort(dim=1).values
        above = (found[rows] > lowest).sum(1, keepdim=True)  # so many are certain; equal ones fill the other places
        place = torch.arange(count, device=values.device)
        filled = equal.gather(1, (place - above).clamp(min=0))
        position = position.index_copy(0, rows, torch.where(place < above, position[rows], filled))
    position = position.sort(dim=1).values
    ranked, order = values.gather(1, position).sort(dim=1, descending=True, stable=True)
    return ranked, position.gather(1, order)


def sample(logits: Tensor, total: Tensor, log_prob: Tensor, draws: Tensor, temperature: float) -> Choice:
    """One token drawn for each hypothesis from softmax(logits / temperature).

    Args:
        logits, total, log_prob: as for `best`, with W = K.
        draws: (B, K) uniform numbers in [0, 1).
        temperature: above 0; log-probabilities remain those of temperature 1.
    """
    logits = logits[..., EOS:]
    rising = (logits.to(draws.dtype) / temperature).softmax(-1).cumsum(-1)
    point = draws.unsqueeze(2) * rising[..., -1:]
    index = torch.searchsorted(rising, point, right=True).clamp(max=logits.size(2) - 1)
    sums = log_prob + (logits.gather(2, index).squeeze(2) - total)
    ends = index.squeeze(2) == 0
    return Choice(
        parent=torch.arange(ends.size(1), device=ends.device).expand_as(ends),
        token=index.squeeze(2) + EOS,
        log_prob=sums.masked_fill(ends, DEAD),
        ending=ends,
        closed=torch.zeros_like(ends[:, 0]),
    )


def draw(seed: int, keys: Sequence[int], count: int, limits: Sequence[int]) -> Tensor:
    """(B, count, longest limit + 1) uniform numbers; those of a sample depend on (seed, key, number of the sample)."""
    if len(keys) != len(limits):
        raise ValueError(f"{len(keys)} keys for {len(limits)} sentences")
    draws = torch.zeros((len(limits), count, max(limits) + 1), dtype=torch.float64)
    generator = torch.Generator()
    for row, key, limit in zip(draws, keys, limits, strict=True):
        for number in range(count):
            digest = hashlib.blake2b(f"{seed} {key} {number}".encode(), digest_size=8).digest()
            generator.manual_seed(int.from_bytes(digest, "big") >> 1)
            row[number, : limit + 1].uniform_(generator=generator)
    return draws

"""One step of search: how the live hypotheses of each sentence go on, by rank or by chance.

Both rules take the logits of the next token and give a `Choice`: which hypotheses are extended by which tokens, and
which of them end. The loop around them is in `s2s.decoding.search`. The ids below `</s>` (`<pad>`, `<unk>`, `<s>`) are
never chosen; their probability is not shared out among the others.

Shapes: B sentences, W live hypotheses of each (1 in the first step of a beam, then K), K places for the next step, V
vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from s2s.data.tokenizer import EOS

DEAD = -float("inf")  # log-probability of an empty place in a beam


class Choice(NamedTuple):
    """How the W live hypotheses of each sentence go on: as K longer ones, except those that end."""

    parent: Tensor  # (B, K) which of the W is extended
    token: Tensor  # (B, K) by which token
    log_prob: Tensor  # (B, K) of the extended one; DEAD for an empty place
    ending: Tensor  # (B, W) which of the W finish with </s>
    closed: Tensor  # (B,) nothing is left in the beam of this sentence

    def select(self, sentences: Tensor) -> Choice:
        return Choice(*(tensor.index_select(0, sentences) for tensor in self))


def best(logits: Tensor, total: Tensor, log_prob: Tensor, width: int) -> Choice:
    """The K best extensions of each sentence that do not end, and those that end among its K best of all.

    Args:
        logits: (B, W, V) of the next token.
        total: (B, W) their logsumexp.
        log_prob: (B, W) of the live hypotheses.
        width: K.
    """
    # Each hypothesis ranks its own tokens by their logits, before rounding in the sums can make different ones equal:
    # so K = 1 is argmax, always.
    values, token = top(logits[..., EOS:].flatten(0, 1), min(2 * width, logits.size(2) - EOS))
    each = values.size(1)
    sums = log_prob.unsqueeze(2) + (values.view(*log_prob.shape, each) - total.unsqueeze(2))
    sums, order = sums.flatten(1).sort(dim=1, descending=True, stable=True)
    sums, order = sums[:, : 2 * width], order[:, : 2 * width]
    parent, token = order // each, token.view(len(order), -1).gather(1, order) + EOS
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


def top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row, largest first, and their positions; equal ones by position, the lowest first.

    `torch.topk` leaves open which of several equal values it takes. It is asked for one more than needed, which shows
    the rows where that matters, and these are settled by a second pass.

    Args:
        values: (N, V), count <= V.

    Returns:
        (N, count) values and positions.
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

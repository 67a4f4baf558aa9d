"""Sentences of unequal lengths as rows without padding, in the order in which a recurrent layer reads them.

The longest sentence comes first. The rows of step t, one for each sentence that still has an element to be read, stand
together, those of step t + 1 after them; so the sentences of a step are always the first ones of the step before, and
nothing is computed for a sentence that has ended. This is also the layout of `torch.nn.utils.rnn.PackedSequence`.

    a b c              sizes 3 2 1
    d          ->      rows  a f d | b g | c      read backwards: c g d | b f | a   (sentences abc, fg, d)
    f g

B sentences, T their padded length, N rows: the number of real elements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Packing:
    """The layout of a batch.

    Attributes:
        shape: (B, T).
        sizes: rows of each step, never growing, none of them 0.
        device: where the rows are.
        places: (N,) where each row stands in a flattened (B·T); None where the rows are simply all (T, B).
        order: (B,) sentences, longest first; this and the following are None where all are of one length.
        rank: (B,) place of each sentence in that order.
        last: (B,) the row of each sentence's last step, any row for a sentence without elements.
        lengths: (B,).
    """

    shape: tuple[int, int]
    sizes: list[int]
    device: torch.device
    places: Tensor | None = None
    order: Tensor | None = None
    rank: Tensor | None = None
    last: Tensor | None = None
    lengths: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, mask: Tensor | None) -> Packing:
        """The layout of x (B, T, ·), read from the first element.

        Args:
            mask: (B, T), True at real elements, which come first; None when all are.
        """
        batch, time = x.shape[:2]
        if mask is None:
            return cls((batch, time), [batch] * time, x.device)
        lengths = mask.sum(dim=1)
        order = lengths.argsort(descending=True, stable=True)
        rank = torch.empty_like(order).index_copy_(0, order, torch.arange(batch, device=x.device))
        steps = torch.arange(time, device=x.device).unsqueeze(1)
        read = steps < lengths[order]  # (T, B)
        places = (order * time + steps)[read]
        rows = read.sum(dim=1)
        last = (rows.cumsum(0) - rows)[(lengths - 1).clamp(min=0)] + rank
        sizes = [size for size in rows.tolist() if size]
        return cls((batch, time), sizes, x.device, places, order, rank, last.clamp(max=len(places) - 1), lengths)

    def reversed(self) -> Packing:
        """The same sentences read from their last element to their first."""
        batch, time = self.shape
        if self.places is None:
            backwards = torch.arange(time - 1, -1, -1, device=self.device).unsqueeze(1)
            return replace(self, places=(torch.arange(batch, device=self.device) * time + backwards).flatten())
        assert self.lengths is not None
        sentence, position = self.places // time, self.places % time
        return replace(self, places=sentence * time + self.lengths[sentence] - 1 - position)

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (N, D). What stands in padding reaches neither the rows nor a gradient."""
        if self.places is None:
            return x.transpose(0, 1).reshape(-1, x.size(2))
        return x.flatten(0, 1).index_select(0, self.places)

    def unpack(self, rows: Tensor) -> Tensor:
        """(N, D) -> (B, T, D), 0 at padding."""
        batch, time = self.shape
        if self.places is None:
            return rows.view(time, batch, -1).transpose(0, 1)
        padded = rows.new_zeros(batch * time, rows.size(1)).index_add(0, self.places, rows)
        return padded.view(batch, time, -1)

    def add(self, rows: Tensor, each: Tensor) -> Tensor:
        """(N, D) plus what belongs to each sentence, (B, D)."""
        batch, time = self.shape
        if self.places is None:
            return (rows.view(time, batch, -1) + each).view(rows.shape)
        return rows + each.index_select(0, self.places // time)

    def first(self, state: State) -> State:
        """(B, H) in the order of the batch -> (B_0, H) in that of the rows of the first step."""
        if self.order is None:
            return state
        order = self.order[: sum(self.sizes[:1])]
        return tuple(s.index_select(0, order) for s in state)

    def final(self, states: State, before: State) -> State:
        """(N, H) after each step -> (B, H) after each sentence's last one; `before` where there is none."""
        if self.last is None or not self.sizes:
            return tuple(s[-self.shape[0] :] for s in states) if self.last is None else before
        return self._or_before(tuple(s.index_select(0, self.last) for s in states), before)

    def in_batch_order(self, final: State, before: State) -> State:
        """(B_0, H) in the order of the rows of the first step -> (B, H); `before` for sentences without elements."""
        if self.rank is None or not self.sizes:
            return final if self.rank is None else before
        return self._or_before(tuple(s.index_select(0, self.rank.clamp(max=len(s) - 1)) for s in final), before)

    def _or_before(self, final: State, before: State) -> State:
        if self.lengths is None or self.sizes[0] == self.shape[0]:
            return final
        read = (self.lengths > 0).unsqueeze(1)
        return tuple(torch.where(read, after, b) for after, b in zip(final, before, strict=True))

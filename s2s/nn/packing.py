"""How a batch of sentences of unequal lengths is laid out for a recurrent layer, which reads it step by step.

**Packed**: rows without padding, in the order in which they are read. The longest sentence comes first. The rows of
step t, one for each sentence that still has an element to be read, stand together, those of step t + 1 after them; so
the sentences of a step are always the first ones of the step before, and nothing is computed for a sentence that has
ended. This is also the layout of `torch.nn.utils.rnn.PackedSequence`.

    a b c              sizes 3 2 1
    d          ->      rows  a f d | b g | c      read backwards: c g d | b f | a   (sentences abc, fg, d)
    f g

**Padded**: every step has a row of every sentence, and what is computed at padding is ignored. A GPU does more work in
the same time, and the layout follows from the shape of the batch alone, so that its lengths need not be known where the
operations are started.

B sentences, T their padded length, N rows: the number of real elements, or B·T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
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
        order: (B,) sentences, longest first; this and `rank` are None where every step has a row of every sentence.
        rank: (B,) place of each sentence in that order.
        last: (B,) the row of each sentence's last step, any row for a sentence without elements; this and `lengths` are
            None where all are of one length.
        lengths: (B,).
        padding: (N, 1) True at rows of padding; None where there are none.
    """

    shape: tuple[int, int]
    sizes: list[int]
    device: torch.device
    places: Tensor | None = None
    order: Tensor | None = None
    rank: Tensor | None = None
    last: Tensor | None = None
    lengths: Tensor | None = None
    padding: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, mask: Tensor | None, lengths: Sequence[int] | None = None) -> Packing:
        """The packed layout of x (B, T, ·), read from the first element.

        Args:
            mask: (B, T), True at real elements, which come first; None when all are.
            lengths: their numbers, the sums of the mask. Where they are not given they are read from the mask, for
                which the CPU waits until the device has computed it.
        """
        batch, time = x.shape[:2]
        if mask is None or (lengths is not None and min(lengths) == time):
            return cls((batch, time), [batch] * time, x.device)
        each = np.array(mask.sum(dim=1).tolist() if lengths is None else lengths, dtype=np.int64)
        order = np.argsort(-each, kind="stable")
        rank = np.argsort(order)
        steps = np.arange(time)[:, None]
        read = steps < each[order]  # (T, B)
        places = (order * time + steps)[read]
        rows = read.sum(axis=1)
        begin = np.append(rows.cumsum() - rows, 0)  # a sentence without elements has no last one
        last = np.minimum(begin[each - 1] + rank, len(places) - 1)
        sizes = [size for size in rows.tolist() if size]
        return cls((batch, time), sizes, x.device, *_sent([places, order, rank, last, each], x.device))

    @classmethod
    def padded(cls, x: Tensor, mask: Tensor) -> Packing:
        """The padded layout of x (B, T, ·), read from the first element; the CPU waits for nothing.

        Args:
            mask: as of `of`.
        """
        batch, time = x.shape[:2]
        lengths = mask.sum(dim=1)
        last = (lengths - 1).clamp(min=0) * batch + torch.arange(batch, device=x.device)
        padding = mask.logical_not().t().reshape(-1, 1)
        return cls((batch, time), [batch] * time, x.device, last=last, lengths=lengths, padding=padding)

    def reversed(self) -> Packing:
        """The same sentences read from their last element to their first."""
        batch, time = self.shape
        if self.places is None:
            steps = torch.arange(time, device=self.device).unsqueeze(1)
            read = time - 1 - steps
            if self.lengths is not None:  # padded: padding stays where it is
                read = torch.where(steps < self.lengths, self.lengths - 1 - steps, steps)
            return replace(self, places=(torch.arange(batch, device=self.device) * time + read).flatten())
        assert self.lengths is not None
        sentence, position = self.places // time, self.places % time
        return replace(self, places=sentence * time + self.lengths[sentence] - 1 - position)

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (N, D). What stands in padding reaches neither the rows nor a gradient."""
        if self.places is None:
            rows = x.transpose(0, 1).reshape(-1, x.size(2))
        else:
            rows = x.flatten(0, 1).index_select(0, self.places)
        return rows if self.padding is None else rows.masked_fill(self.padding, 0.0)

    def unpack(self, rows: Tensor) -> Tensor:
        """(N, D) -> (B, T, D), 0 at padding."""
        batch, time = self.shape
        if self.padding is not None:
            rows = rows.masked_fill(self.padding, 0.0)
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
        if self.lengths is None or (self.padding is None and self.sizes[0] == self.shape[0]):
            return final  # every sentence has an element
        read = (self.lengths > 0).unsqueeze(1)
        return tuple(torch.where(read, after, b) for after, b in zip(final, before, strict=True))


def _sent(numbers: Sequence[NDArray[np.int64]], device: torch.device) -> Sequence[Tensor]:
    """The numbers on `device`, in one copy for which the CPU does not wait."""
    together = torch.from_numpy(np.concatenate(numbers))
    if device.type == "cuda":
        together = together.pin_memory()
    return together.to(device, non_blocking=True).split([len(part) for part in numbers])  # type: ignore[no-untyped-call, no-any-return]

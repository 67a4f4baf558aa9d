"""Layout of a batch for a recurrent layer: torch's `PackedSequence` (`batch_sizes`), or padded.

**Packed**: rows without padding, in reading order, as in `torch.nn.utils.rnn.PackedSequence`. The longest sentence
comes first. The rows of step t, one for each sentence that has not ended, precede those of step t + 1, so the sentences
of a step are the first ones of the step before. Nothing is computed for a sentence that has ended.

    a b c              batch_sizes 3 2 1
    d          ->      rows  a f d | b g | c      read backwards: c g d | b f | a   (sentences abc, fg, d)
    f g

**Padded**: every step has a row of every sentence, and results at padding are ignored. A GPU needs no more time for it,
and the layout depends on the shape of the batch alone, so the CPU need not know the lengths to start the operations.

B sentences, T their padded length, N rows: the number of real elements, or B·T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.kernels.stepping import State


@dataclass(frozen=True)
class Packing:
    """The fields of torch's `PackedSequence` without its data, and further indices.

    Attributes:
        shape: (B, T).
        batch_sizes: rows of each step, never growing, none of them 0.
        device: where the rows are.
        index: (N,) index of each row in the flattened batch (B·T); None if the rows are all of (T, B).
        sorted_indices: (B,) sentences, longest first; it and `unsorted_indices` are None if every step has a row of
            every sentence.
        unsorted_indices: (B,) the inverse permutation.
        last: (B,) the row of each sentence's last step, any row for an empty sentence; it and `lengths` are None if all
            lengths are equal.
        lengths: (B,).
        padding: (N, 1) True at padding; None without any.
    """

    shape: tuple[int, int]
    batch_sizes: list[int]
    device: torch.device
    index: Tensor | None = None
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None
    last: Tensor | None = None
    lengths: Tensor | None = None
    padding: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, mask: Tensor | None, lengths: Sequence[int] | None = None) -> Packing:
        """The packed layout of x (B, T, ·), read from the first element.

        Args:
            mask: (B, T), True at real elements, which come first; None when all are.
            lengths: sums of the mask. Without them the CPU waits for the device to compute the mask.
        """
        batch, time = x.shape[:2]
        if mask is None or (lengths is not None and min(lengths) == time):
            return cls((batch, time), [batch] * time, x.device)
        counts = np.array(mask.sum(dim=1).tolist() if lengths is None else lengths, dtype=np.int64)
        sorted_indices = np.argsort(-counts, kind="stable")
        unsorted_indices = np.argsort(sorted_indices)
        steps = np.arange(time)[:, None]
        read = steps < counts[sorted_indices]  # (T, B)
        index = (sorted_indices * time + steps)[read]
        rows = read.sum(axis=1)
        begin = np.append(rows.cumsum() - rows, 0)  # an empty sentence has no last row
        last = np.minimum(begin[counts - 1] + unsorted_indices, len(index) - 1)
        batch_sizes = [size for size in rows.tolist() if size]
        arrays = [index, sorted_indices, unsorted_indices, last, counts]
        return cls((batch, time), batch_sizes, x.device, *to_device(arrays, x.device))

    @classmethod
    def padded(cls, x: Tensor, mask: Tensor) -> Packing:
        """The padded layout of x (B, T, ·) and its mask, read from the first element; the CPU waits for nothing."""
        batch, time = x.shape[:2]
        lengths = mask.sum(dim=1)
        last = (lengths - 1).clamp(min=0) * batch + torch.arange(batch, device=x.device)
        padding = mask.logical_not().t().reshape(-1, 1)
        return cls((batch, time), [batch] * time, x.device, last=last, lengths=lengths, padding=padding)

    def reversed(self) -> Packing:
        """The same sentences read from their last element to their first."""
        batch, time = self.shape
        if self.index is None:
            steps = torch.arange(time, device=self.device).unsqueeze(1)
            read = time - 1 - steps
            if self.lengths is not None:  # padded: padding stays where it is
                read = torch.where(steps < self.lengths, self.lengths - 1 - steps, steps)
            return replace(self, index=(torch.arange(batch, device=self.device) * time + read).flatten())
        assert self.lengths is not None
        sentence, step = self.index // time, self.index % time
        return replace(self, index=sentence * time + self.lengths[sentence] - 1 - step)

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (N, D). Values at padding reach neither the rows nor a gradient."""
        if self.index is None:
            rows = x.transpose(0, 1).reshape(-1, x.size(2))
        else:
            rows = x.flatten(0, 1).index_select(0, self.index)
        return rows if self.padding is None else rows.masked_fill(self.padding, 0.0)

    def unpack(self, rows: Tensor) -> Tensor:
        """(N, D) -> (B, T, D), 0 at padding."""
        batch, time = self.shape
        if self.padding is not None:
            rows = rows.masked_fill(self.padding, 0.0)
        if self.index is None:
            return rows.view(time, batch, -1).transpose(0, 1)
        padded = rows.new_zeros(batch * time, rows.size(1)).index_add(0, self.index, rows)
        return padded.view(batch, time, -1)

    def add(self, rows: Tensor, by_sentence: Tensor) -> Tensor:
        """(N, D) plus a vector for each sentence, (B, D)."""
        batch, time = self.shape
        if self.index is None:
            return (rows.view(time, batch, -1) + by_sentence).view(rows.shape)
        return rows + by_sentence.index_select(0, self.index // time)

    def first(self, state: State) -> State:
        """(B, H) in the order of the batch -> (B_0, H) in that of the rows of the first step."""
        if self.sorted_indices is None:
            return state
        indices = self.sorted_indices[: sum(self.batch_sizes[:1])]
        return tuple(s.index_select(0, indices) for s in state)

    def final(self, states: State, before: State) -> State:
        """(N, H) after each step -> (B, H) after each sentence's last one; `before` for empty sentences."""
        if self.last is None or not self.batch_sizes:
            return tuple(s[-self.shape[0] :] for s in states) if self.last is None else before
        return self._or_before(tuple(s.index_select(0, self.last) for s in states), before)

    def in_batch_order(self, final: State, before: State) -> State:
        """(B_0, H) in the order of the rows of the first step -> (B, H); `before` for empty sentences."""
        if self.unsorted_indices is None or not self.batch_sizes:
            return final if self.unsorted_indices is None else before
        indices = self.unsorted_indices.clamp(max=self.batch_sizes[0] - 1)
        return self._or_before(tuple(s.index_select(0, indices) for s in final), before)

    def _or_before(self, final: State, before: State) -> State:
        if self.lengths is None or (self.padding is None and self.batch_sizes[0] == self.shape[0]):
            return final  # no sentence is empty
        read = (self.lengths > 0).unsqueeze(1)
        return tuple(torch.where(read, after, b) for after, b in zip(final, before, strict=True))


def to_device(arrays: Sequence[NDArray[np.int64]], device: torch.device) -> Sequence[Tensor]:
    """The arrays on `device`, in one copy for which the CPU does not wait."""
    together = torch.from_numpy(np.concatenate(arrays))
    if device.type == "cuda":
        together = together.pin_memory()
    return together.to(device, non_blocking=True).split([len(part) for part in arrays])  # type: ignore[no-untyped-call, no-any-return]

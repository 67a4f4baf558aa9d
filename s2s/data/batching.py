"""Sentence pairs as padded id matrices, and the plan that says which pairs travel together.

A micro-batch is limited by memory, which follows the size of its padded matrices and not the number of its sentences:
n pairs are allowed while n × (the longest side among them) stays within `max_tokens`. A limit on n as well, as Bahdanau
et al. (2015) have it with 80, gives short sentences as many updates as long ones, where otherwise a batch of them is
hundreds. Padding is kept small by sorting the pairs by length before they are cut into batches; the order of the
batches, and that of pairs of the same length, is drawn anew for each epoch from (seed, epoch) alone. So any process can
compute any batch of any epoch by its position, and resuming a run needs no saved random state and skips nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.data.ids import seeded, tokenised, tokenised_now
from s2s.data.subwords import BOS, EOS, PAD
from s2s.errors import S2SError

if TYPE_CHECKING:
    from s2s.data.corpus import Split
    from s2s.data.tokenizer import Tokenizer

Ids = Sequence[int] | NDArray[np.integer]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Sentence pairs as padded id matrices; masks are True at real tokens, which come first.

    A target row is `y_1 … y_n </s>`; `target_input` is `<s> y_1 … y_n`, what the decoder reads while it writes it.
    The lengths are kept on the CPU whatever the device of the tensors, so that asking for them waits for no device.

    A batch of fixed shape (`fixed`) stands for all batches of its shape: where its real tokens are is not known on the
    CPU.
    """

    source: Tensor  # (B, S) int64, each row ends with </s>
    source_mask: Tensor  # (B, S) bool
    target_input: Tensor  # (B, T)
    target: Tensor  # (B, T)
    target_mask: Tensor  # (B, T)
    index: list[int]  # position of each pair in its split
    source_lengths: list[int] = field(init=False)  # real tokens in each row, </s> included
    target_lengths: list[int] = field(init=False)
    target_positions: Tensor | None = field(init=False)  # (N,) of the real target tokens in (B·T); None: fixed shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "source_lengths", self.source_mask.sum(1).tolist())
        object.__setattr__(self, "target_lengths", self.target_mask.sum(1).tolist())
        object.__setattr__(self, "target_positions", self.target_mask.flatten().nonzero().squeeze(1))

    @property
    def size(self) -> int:
        """Number of sentence pairs."""
        return len(self.index)

    @property
    def tokens(self) -> int:
        """Target tokens that count in the loss, </s> included."""
        return sum(self.target_lengths)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`; a GPU copies them by itself if they are `pinned`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The same batch in page-locked memory, for a GPU."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed = copy.copy(self)  # not a new Batch: that would count the lengths again, on the device
        for name, tensor in self.tensors.items():
            object.__setattr__(changed, name, change(tensor))
        return changed

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that goes to the device, by name."""
        names = ("source", "source_mask", "target_input", "target", "target_mask", "target_positions")
        return {name: tensor for name in names if (tensor := getattr(self, name)) is not None}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, S, T)."""
        return (*self.source.shape, self.target.size(1))

    def fixed(self, multiple: int) -> Batch:
        """The same pairs in a batch of fixed shape: B, S and T filled up to multiples of `multiple`.

        What is filled in counts nowhere: a sentence is an end of sentence alone, without target tokens.
        """
        sentences, source, target = (-(-size // multiple) * multiple for size in self.shape)
        filled = copy.copy(self)
        for name, tensor in self.tensors.items():
            more = (0, (source if "source" in name else target) - tensor.size(-1), 0, sentences - tensor.size(0))
            if name != "target_positions":
                object.__setattr__(filled, name, torch.nn.functional.pad(tensor, more))  # PAD is 0, as is False
        filled.source[self.size :, 0], filled.source_mask[self.size :, 0] = EOS, True
        object.__setattr__(filled, "target_positions", None)
        return filled


def collate(sources: Sequence[Ids], targets: Sequence[Ids], index: Sequence[int] | Index) -> Batch:
    """A batch from id sequences without special tokens; `</s>` and `<s>` are added here.

    Args:
        sources, targets: B id sequences each, any of them may be empty.
        index: B positions of the pairs in their split.
    """
    source, source_mask = pad_source(sources)
    target, target_mask = pad_source(targets)
    target_input = torch.full_like(target, PAD)
    target_input[:, 0] = BOS
    # Shifting brings each row's </s> along, one place behind its mask: put padding there instead.
    target_input[:, 1:] = target[:, :-1].masked_fill(~target_mask[:, 1:], PAD)
    return Batch(source, source_mask, target_input, target, target_mask, [int(i) for i in index])


def pad_source(ids: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """(B, S) int64 rows that end with `</s>` and are filled up with padding, and their (B, S) mask.

    Args:
        ids: B >= 1 id sequences without special tokens, any of them may be empty.
    """
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    rows = np.full((len(lengths), int(lengths.max()) + 1), PAD, dtype=np.int64)
    for row, values, length in zip(rows, ids, lengths, strict=True):
        row[:length] = values
        row[length] = EOS
    mask = np.arange(rows.shape[1]) <= lengths[:, None]
    return torch.from_numpy(rows), torch.from_numpy(mask)


class BatchPlan:
    """Which pairs make up each micro-batch of each epoch.

    Pairs are sorted by their longer side and then by how much longer the source is than the target, ties in random
    order, and cut from the long end, each batch as large as the budget allows. The number of batches is therefore the
    same in every epoch.

    Args:
        source_lengths, target_lengths: (N,) subwords of each pair, `</s>` included.
        max_tokens: a batch of n pairs has n × (its longest side) <= max_tokens.
        seed: with the epoch, decides the order.
        max_pairs: a batch has n <= max_pairs; no such limit when None.

    Raises:
        S2SError: a pair is longer than `max_tokens`.
    """

    def __init__(
        self,
        source_lengths: NDArray[np.integer],
        target_lengths: NDArray[np.integer],
        max_tokens: int,
        seed: int,
        max_pairs: int | None = None,
    ) -> None:
        self.seed = seed
        # int32: of a corpus of millions these are most of what is held in memory
        self._source = np.asarray(source_lengths, dtype=np.int32)
        self._target = np.asarray(target_lengths, dtype=np.int32)
        self._long = np.maximum(self._source, self._target)
        too_long = int((self._long > max_tokens).sum())
        if too_long:
            raise S2SError(
                f"{too_long} sentence pairs are longer than training.batch_tokens={max_tokens} (the longest has "
                f"{self._long.max()} subwords): raise training.batch_tokens or lower data.max_length"
            )
        self._ends = _cut(np.sort(self._long)[::-1], max_tokens, max_pairs)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._ends)

    def epoch(self, epoch: int) -> list[Index]:
        """The pairs of each batch of this epoch, in order; every pair is in exactly one of them."""
        if not len(self):
            return []
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, epoch])))
        ties = random.permutation(len(self._long))
        order = np.lexsort((ties, self._source - self._target, -self._long)).astype(np.int64)
        batches = np.split(order, self._ends[:-1])
        return [batches[i] for i in random.permutation(len(batches))]

    def padding_waste(self, epoch: int) -> float:
        """Share of the cells of the padded matrices (both sides) of this epoch that hold padding."""
        cells = sum(len(b) * (int(self._source[b].max()) + int(self._target[b].max())) for b in self.epoch(epoch))
        real = int(self._source.sum(dtype=np.int64) + self._target.sum(dtype=np.int64))
        return 1 - real / cells if cells else 0.0


def _cut(falling: NDArray[np.integer], max_tokens: int, max_pairs: int | None = None) -> NDArray[np.int64]:
    """Where batches end, for lengths in falling order: the first of a batch is its longest and decides its size."""
    ends, position, most = [], 0, max_pairs or len(falling)
    while position < len(falling):
        position = min(position + max(1, min(most, max_tokens // int(falling[position]))), len(falling))
        ends.append(position)
    return np.array(ends, dtype=np.int64)


class EncodedSplit:
    """Both sides of a split as ids; `source_lengths` and `target_lengths` (N,) count </s> too.

    Args:
        sampling: seed of subword sampling; none without it.
    """

    def __init__(self, split: Split, tokenizer: Tokenizer, sampling: Sequence[int] | None = None) -> None:
        source, target = tokenizer.source, tokenizer.target
        labels = "tokenising source", "tokenising target"
        if sampling is None:
            self.source = tokenised(split.source, source.encode, source.size, source.proto, labels[0])
            self.target = tokenised(split.target, target.encode, target.size, target.proto, labels[1])
        else:
            draws = (seeded(tokenizer.sample_source, [*sampling, 0]), seeded(tokenizer.sample_target, [*sampling, 1]))
            self.source = tokenised_now(split.source, draws[0], source.size, labels[0])
            self.target = tokenised_now(split.target, draws[1], target.size, labels[1])
        self.source_lengths, self.target_lengths = self.source.lengths + 1, self.target.lengths + 1
        self.longest = np.maximum(self.source_lengths, self.target_lengths)  # (N,) the longer side of each pair

    def batch(self, index: Index) -> Batch:
        """The pairs `index` as a batch."""
        return collate([self.source[i] for i in index], [self.target[i] for i in index], index)

    def plan(self, kept: Index, max_tokens: int, seed: int, max_pairs: int | None) -> BatchPlan:
        """A plan for the pairs `kept`; it speaks of positions in `kept`."""
        return BatchPlan(self.source_lengths[kept], self.target_lengths[kept], max_tokens, seed, max_pairs)


@dataclass(frozen=True)
class _Epoch:
    number: int
    ids: EncodedSplit
    kept: Index
    plan: BatchPlan
    batches: list[Index]  # positions in `kept`


class TrainingData:
    """The training split as batches, each found by (epoch, position).

    With subword sampling the whole split is tokenised anew when an epoch is first asked for, from (seed, epoch): it is
    then cut into batches by the lengths that were really drawn, so the budget holds and little is padding.

    Args:
        split: the training pairs.
        tokenizer: turns them into ids.
        batch_tokens: the budget of `BatchPlan`.
        seed: of the order and of sampling.
        batch_sentences: its limit on pairs.

    Attributes:
        dropped: pairs left out, by reason.

    Raises:
        S2SError: no pair fits into a batch.
    """

    def __init__(
        self, split: Split, tokenizer: Tokenizer, batch_tokens: int, seed: int, batch_sentences: int | None = None
    ) -> None:
        self.split, self.tokenizer, self.batch_tokens, self.seed = split, tokenizer, batch_tokens, seed
        self.batch_sentences = batch_sentences
        self._ids = EncodedSplit(split, tokenizer)
        self._kept: Index = np.flatnonzero(self._ids.longest <= batch_tokens)
        if not len(self._kept):
            raise S2SError(
                f"no training pair fits into training.batch_tokens={batch_tokens}: the shortest has "
                f"{self._ids.longest.min(initial=2**31 - 1)} subwords on its longer side; raise training.batch_tokens"
            )
        left_out = len(split) - len(self._kept)
        self.dropped = {"longer than a batch": left_out} if left_out else {}
        self._plan = self._ids.plan(self._kept, batch_tokens, seed, batch_sentences)
        self._epoch: _Epoch | None = None

    def num_batches(self, epoch: int) -> int:
        """Micro-batches in this epoch: the same number in each, but for subword sampling."""
        return len(self._at(epoch).batches) if self.tokenizer.sampling else len(self._plan)

    def updates_per_epoch(self, accumulate: int, epoch: int = 0) -> int:
        """Updates in an epoch when each takes `accumulate` micro-batches; the last may take fewer."""
        return -(-self.num_batches(epoch) // accumulate)

    def target_tokens(self, epoch: int) -> int:
        """Target tokens in this epoch, </s> included."""
        at = self._at(epoch)
        return int(at.ids.target_lengths[at.kept].sum())

    def padding_waste(self, epoch: int) -> float:
        """Share of the cells of this epoch's matrices, both sides, that hold padding."""
        return self._at(epoch).plan.padding_waste(epoch)

    def batch(self, epoch: int, position: int) -> Batch:
        """Micro-batch `position` of this epoch; the same on every call and in every process.

        Raises:
            IndexError: the epoch has fewer batches.
        """
        at = self._at(epoch)
        return at.ids.batch(at.kept[at.batches[position]])

    def _at(self, epoch: int) -> _Epoch:
        if self._epoch is None or self._epoch.number != epoch:
            self._epoch = None  # frees the last epoch's ids before making new ones
            ids, kept, plan = self._ids, self._kept, self._plan
            if self.tokenizer.sampling:
                ids = EncodedSplit(self.split, self.tokenizer, sampling=(self.seed, epoch))
                kept = np.flatnonzero(ids.longest <= self.batch_tokens)
                plan = ids.plan(kept, self.batch_tokens, self.seed, self.batch_sentences)
            self._epoch = _Epoch(epoch, ids, kept, plan, plan.epoch(epoch))
        return self._epoch


class EvaluationBatches:
    """A whole split in batches, from the longest pair to the shortest, the same for every run; nothing is left out.

    A pair that alone is longer than the budget is a batch of its own. The batches are made when they are asked for.
    """

    def __init__(self, split: Split, tokenizer: Tokenizer, batch_tokens: int) -> None:
        self._ids = EncodedSplit(split, tokenizer)
        long = self._ids.longest
        order = np.lexsort((self._ids.source_lengths - self._ids.target_lengths, -long))
        self._batches = np.split(order, _cut(long[order], batch_tokens)[:-1]) if len(order) else []

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, position: int) -> Batch:
        return self._ids.batch(self._batches[position])

    def __iter__(self) -> Iterator[Batch]:
        return map(self._ids.batch, self._batches)


def evaluation_batches(split: Split, tokenizer: Tokenizer, batch_tokens: int) -> EvaluationBatches:
    """All pairs of a split as batches, sorted by length."""
    return EvaluationBatches(split, tokenizer, batch_tokens)

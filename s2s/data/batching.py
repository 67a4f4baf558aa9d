"""Padded batches of token ids, and the batch sampler: which sentence pairs form a batch.

Memory follows the size of the padded matrices, not the number of sentences. So a micro-batch has a token budget: n
pairs are allowed while n × (their longest side) <= `max_tokens`. An additional limit on n, such as the 80 of Bahdanau
et al. (2015), gives short sentences as many updates as long ones; without it a batch of short sentences has hundreds.

The pairs are sorted by length before they are divided into batches, so that little is padding. The order of the
batches, and that of pairs of equal length, is drawn for each epoch from (seed, epoch) alone. So any process can compute
any batch of any epoch by its position, and a resumed run needs no saved random state and skips nothing.
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

from s2s.data.ids import FlatIds, Sample, cached_ids, seeded, temporary_ids
from s2s.data.subwords import BOS, EOS, PAD, Subwords
from s2s.errors import S2SError

if TYPE_CHECKING:
    from s2s.data.corpus import Split
    from s2s.data.tokenizer import Tokenizer

Ids = Sequence[int] | NDArray[np.integer]
Index = NDArray[np.int64]

EVALUATION = 0x65766C  # begins the seeds of evaluation batches
NO_TOKENS = "no line has tokens after normalization: check the text, and data.tokenizer.normalization"


@dataclass(frozen=True)
class Batch:
    """Sentence pairs as padded id matrices; masks are True at real tokens, which come first.

    A target row is `y_1 … y_n </s>`; `target_input` is the decoder's input, `<s> y_1 … y_n`. A masked language model
    has no decoder: its target is the whole text, of which `target_mask` chooses tokens anywhere. The lengths stay on
    the CPU whatever the device of the tensors, so that reading them never waits for a device.

    A batch of fixed shape (`pad_to_multiple`) stands for all batches of that shape in a CUDA graph: the positions of
    its real tokens are not known on the CPU.
    """

    source: Tensor  # (B, S) int64, each row ends with </s>
    source_mask: Tensor  # (B, S) bool
    target_input: Tensor  # (B, T)
    target: Tensor  # (B, T)
    target_mask: Tensor  # (B, T)
    index: list[int]  # position of each pair in its split
    source_lengths: list[int] = field(init=False)  # real tokens in each row, </s> included
    target_lengths: list[int] = field(init=False)  # those that count in the loss
    target_positions: Tensor | None = field(init=False)  # (N,) real target tokens within B·T; None for a fixed shape

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
        """Target tokens that count in the loss: all with </s>, or the chosen ones of a masked language model."""
        return sum(self.target_lengths)

    def to(self, device: torch.device | str) -> Batch:
        """The batch with its tensors on `device`; the copy to a GPU is asynchronous if they are `pinned`."""
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The batch in page-locked memory, for a GPU."""
        return self.map_tensors(Tensor.pin_memory)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `function` applied to each of its tensors."""
        batch = copy.copy(self)  # a new Batch would count the lengths again, on the device
        for name, tensor in self.tensors.items():
            object.__setattr__(batch, name, function(tensor))
        return batch

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that move to the device, by name."""
        names = ("source", "source_mask", "target_input", "target", "target_mask", "target_positions")
        return {name: tensor for name in names if (tensor := getattr(self, name)) is not None}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, S, T)."""
        return (*self.source.shape, self.target.size(1))

    def pad_to_multiple(self, multiple: int) -> Batch:
        """The batch padded to a fixed shape: B, S and T become multiples of `multiple`.

        Padding does not count: an added sentence is a `</s>` alone, without target tokens.
        """
        sentences, source, target = (-(-size // multiple) * multiple for size in self.shape)
        padded = copy.copy(self)
        for name, tensor in self.tensors.items():
            padding = (0, (source if "source" in name else target) - tensor.size(-1), 0, sentences - tensor.size(0))
            if name != "target_positions":
                object.__setattr__(padded, name, torch.nn.functional.pad(tensor, padding))  # PAD is 0, as is False
        padded.source[self.size :, 0], padded.source_mask[self.size :, 0] = EOS, True
        object.__setattr__(padded, "target_positions", None)
        return padded


def collate(sources: Sequence[Ids], targets: Sequence[Ids], index: Sequence[int] | Index) -> Batch:
    """Returns a batch of id sequences without special tokens; adds `</s>` and `<s>`.

    Args:
        sources, targets: B id sequences each, any of them may be empty.
        index: B positions of the pairs in their split.
    """
    source, source_mask = pad_with_eos(sources)
    target, target_mask = pad_with_eos(targets)
    target_input = torch.full_like(target, PAD)
    target_input[:, 0] = BOS
    # The shift moves each row's </s> to the position after its mask: padding replaces it.
    target_input[:, 1:] = target[:, :-1].masked_fill(~target_mask[:, 1:], PAD)
    return Batch(source, source_mask, target_input, target, target_mask, [int(i) for i in index])


# From the ids of B sources, of B targets, their positions in the split, and the seed of what is drawn.
MakeBatch = Callable[[Sequence[Ids], Sequence[Ids], Index, Sequence[int]], Batch]


def pairs_batch(sources: Sequence[Ids], targets: Sequence[Ids], index: Index, seed: Sequence[int]) -> Batch:
    """The batch of sentence pairs as they are; other objectives have those of `s2s.data.objectives`."""
    return collate(sources, targets, index)


def pad_with_eos(ids: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """(B, S) int64 rows that end with `</s>` and padding, and their (B, S) mask.

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


class BatchSampler:
    """Batch sampler: the sentence pairs of each micro-batch of each epoch.

    Pairs are sorted by their longer side, then by source minus target length, ties in random order. Batches are filled
    from the longest pair on, each as far as the budget allows, so every epoch has the same number of batches.

    Args:
        source_lengths, target_lengths: (N,) subwords of each pair, `</s>` included.
        max_tokens: a batch of n pairs has n × (its longest side) <= max_tokens.
        seed: determines the order, together with the epoch.
        max_pairs: a batch has n <= max_pairs; None: no limit.

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
        # int32: for a corpus of millions these arrays are most of the memory
        self._source = np.asarray(source_lengths, dtype=np.int32)
        self._target = np.asarray(target_lengths, dtype=np.int32)
        self._longest = np.maximum(self._source, self._target)
        too_long = int((self._longest > max_tokens).sum())
        if too_long:
            raise S2SError(
                f"{too_long} sentence pairs are longer than training.batch_tokens={max_tokens} (the longest has "
                f"{self._longest.max()} subwords): raise training.batch_tokens or lower data.max_length"
            )
        self._ends = _batch_ends(np.sort(self._longest)[::-1], max_tokens, max_pairs)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._ends)

    def epoch(self, epoch: int) -> list[Index]:
        """The pairs of each batch of an epoch, in order; every pair is in exactly one batch."""
        if not len(self):
            return []
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, epoch])))
        ties = random.permutation(len(self._longest))
        order = np.lexsort((ties, self._source - self._target, -self._longest)).astype(np.int64)
        batches = np.split(order, self._ends[:-1])
        return [batches[i] for i in random.permutation(len(batches))]

    def padding_waste(self, epoch: int) -> float:
        """Share of padding in the matrices of both sides in an epoch."""
        cells = sum(len(b) * (int(self._source[b].max()) + int(self._target[b].max())) for b in self.epoch(epoch))
        real = int(self._source.sum(dtype=np.int64) + self._target.sum(dtype=np.int64))
        return 1 - real / cells if cells else 0.0


def token_batches(
    lengths: Sequence[int] | NDArray[np.integer], max_tokens: int, ties: NDArray[np.integer] | None = None
) -> list[Index]:
    """Positions in batches, longest first, ties by `ties`: n × (longest of the batch) <= max_tokens, or n = 1."""
    longest = np.asarray(lengths, dtype=np.int64)
    order = np.lexsort((-longest,) if ties is None else (ties, -longest))
    return np.split(order, _batch_ends(longest[order], max_tokens)[:-1]) if len(order) else []


def _batch_ends(falling: NDArray[np.integer], max_tokens: int, max_pairs: int | None = None) -> NDArray[np.int64]:
    """Ends of the batches of falling lengths; the first length of a batch is its longest and determines its size."""
    ends, position, limit = [], 0, max_pairs or len(falling)
    while position < len(falling):
        position = min(position + max(1, min(limit, max_tokens // int(falling[position]))), len(falling))
        ends.append(position)
    return np.array(ends, dtype=np.int64)


class EncodedSplit:
    """Both sides of a split as ids, with subword sampling if it has a seed; (N,) lengths include </s>.

    Text of one language is tokenised once: both sides have the same ids, also with subword sampling.
    """

    def __init__(self, split: Split, tokenizer: Tokenizer, sampling: Sequence[int] | None = None) -> None:

        def encode(texts: Sequence[str], model: Subwords, sample: Sample, side: int) -> FlatIds:
            label = f"tokenising {('source', 'target')[side]}"
            if sampling is None:
                return cached_ids(texts, model.encode, model.size, model.proto, label)
            return temporary_ids(texts, seeded(sample, [*sampling, side]), model.size, label)

        self.source = self.target = encode(split.source, tokenizer.source, tokenizer.sample_source, 0)
        if not (split.monolingual and tokenizer.joint):
            self.target = encode(split.target, tokenizer.target, tokenizer.sample_target, 1)
        self.source_lengths, self.target_lengths = self.source.lengths + 1, self.target.lengths + 1
        self.longest = np.maximum(self.source_lengths, self.target_lengths)  # (N,) the longer side of each pair
        # (N,) pairs with tokens on both sides: normalisation may remove all of a line that is not empty
        self.has_tokens = np.minimum(self.source_lengths, self.target_lengths) > 1

    def that_fit(self, batch_tokens: int) -> Index:
        """The positions of the pairs that have tokens, and at most so many."""
        return np.flatnonzero(self.has_tokens & (self.longest <= batch_tokens))

    def batch(self, index: Index, make_batch: MakeBatch, seed: Sequence[int]) -> Batch:
        """Returns the pairs `index` as a batch."""
        return make_batch([self.source[i] for i in index], [self.target[i] for i in index], index, seed)

    def sampler(self, kept: Index, max_tokens: int, seed: int, max_pairs: int | None) -> BatchSampler:
        """The batch sampler of the pairs `kept`, as positions in `kept`."""
        return BatchSampler(self.source_lengths[kept], self.target_lengths[kept], max_tokens, seed, max_pairs)


@dataclass(frozen=True)
class _Epoch:
    number: int
    ids: EncodedSplit
    kept: Index
    sampler: BatchSampler
    batches: list[Index]  # positions in `kept`


class TrainingData:
    """The batches of the training split by (epoch, position).

    With subword sampling the first access to an epoch tokenises the whole split, from (seed, epoch). Its batches follow
    the sampled lengths, so the budget holds and little is padding.

    Args:
        split: the training pairs.
        tokenizer: of both sides.
        batch_tokens: the token budget of `BatchSampler`.
        seed: of the order and of sampling.
        batch_sentences: the limit on pairs of `BatchSampler`.
        make_batch: makes a batch of chosen pairs, from (seed, epoch, position).

    Attributes:
        filtered: number of filtered pairs by reason.

    Raises:
        S2SError: no pair has tokens and fits into a batch.
    """

    def __init__(
        self,
        split: Split,
        tokenizer: Tokenizer,
        batch_tokens: int,
        seed: int,
        batch_sentences: int | None = None,
        make_batch: MakeBatch = pairs_batch,
    ) -> None:
        self.split, self.tokenizer, self.batch_tokens, self.seed = split, tokenizer, batch_tokens, seed
        self.batch_sentences, self.make_batch = batch_sentences, make_batch
        self._ids = EncodedSplit(split, tokenizer)
        self._kept = self._ids.that_fit(batch_tokens)
        has_tokens = self._ids.has_tokens
        if not has_tokens.any():
            raise S2SError(f"split {split.name}: {NO_TOKENS}")
        if not len(self._kept):
            raise S2SError(
                f"no training example fits into training.batch_tokens={batch_tokens}: the shortest needs "
                f"{self._ids.longest[has_tokens].min()}; raise training.batch_tokens"
            )
        reasons = {
            "without tokens after normalization": int((~has_tokens).sum()),
            "longer than training.batch_tokens": int(has_tokens.sum()) - len(self._kept),
        }
        self.filtered = {reason: count for reason, count in reasons.items() if count}
        self._sampler = self._ids.sampler(self._kept, batch_tokens, seed, batch_sentences)
        self._epoch: _Epoch | None = None

    def num_batches(self, epoch: int) -> int:
        """Micro-batches in an epoch: the same number in each, except with subword sampling."""
        return len(self._load(epoch).batches) if self.tokenizer.sampling else len(self._sampler)

    def target_tokens(self, epoch: int) -> int:
        """Target tokens in an epoch, </s> included."""
        current = self._load(epoch)
        return int(current.ids.target_lengths[current.kept].sum())

    def padding_waste(self, epoch: int) -> float:
        """Share of padding in the matrices of both sides in an epoch."""
        return self._load(epoch).sampler.padding_waste(epoch)

    def batch(self, epoch: int, position: int) -> Batch:
        """Micro-batch `position` of an epoch; the same on every call and in every process.

        Raises:
            IndexError: the epoch has fewer batches.
        """
        current = self._load(epoch)
        seed = (self.seed, epoch, position)
        return current.ids.batch(current.kept[current.batches[position]], self.make_batch, seed)

    def _load(self, epoch: int) -> _Epoch:
        if self._epoch is None or self._epoch.number != epoch:
            self._epoch = None  # frees the previous epoch's ids before new ones are made
            ids, kept, sampler = self._ids, self._kept, self._sampler
            if self.tokenizer.sampling:
                ids = EncodedSplit(self.split, self.tokenizer, sampling=(self.seed, epoch))
                kept = ids.that_fit(self.batch_tokens)
                sampler = ids.sampler(kept, self.batch_tokens, self.seed, self.batch_sentences)
            self._epoch = _Epoch(epoch, ids, kept, sampler, sampler.epoch(epoch))
        return self._epoch


class EvaluationBatches:
    """Batches of a whole split, from the longest pair to the shortest, the same in every run.

    A pair that exceeds the budget is a batch of its own; one that the tokenizer leaves without tokens is left out. The
    batches are made on access.

    Raises:
        S2SError: no pair has tokens.
    """

    def __init__(self, split: Split, tokenizer: Tokenizer, batch_tokens: int, make_batch: MakeBatch) -> None:
        self._ids, self._make_batch = EncodedSplit(split, tokenizer), make_batch
        kept = np.flatnonzero(self._ids.has_tokens)
        if not len(kept):
            raise S2SError(f"split {split.name}: {NO_TOKENS}")
        difference = self._ids.source_lengths[kept] - self._ids.target_lengths[kept]
        self._batches = [kept[batch] for batch in token_batches(self._ids.longest[kept], batch_tokens, difference)]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, position: int) -> Batch:
        return self._ids.batch(self._batches[position], self._make_batch, (EVALUATION, position))

    def __iter__(self) -> Iterator[Batch]:
        return map(self.__getitem__, range(len(self)))


def evaluation_batches(
    split: Split, tokenizer: Tokenizer, batch_tokens: int, make_batch: MakeBatch = pairs_batch
) -> EvaluationBatches:
    """Returns all pairs of a split as batches, sorted by length."""
    return EvaluationBatches(split, tokenizer, batch_tokens, make_batch)

"""Networks of the same cell that differ in where their outputs are read off; see `s2s.lab.readouts`.

An output shorter than what a readout has places for is filled up with ends. B batch, V target vocabulary.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.data.batching import Batch
from s2s.data.tokenizer import EOS
from s2s.lab.fit import Recipe
from s2s.lab.toy_language import FIRST, STANDS_FOR, SYMBOLS
from s2s.models.recurrent import FixedContext, RecurrentDecoder, RecurrentEncoder
from s2s.models.seq2seq import EncoderDecoder
from s2s.schema import PositiveInt

ENCODER_DECODER = "N to M, encoder–decoder"
READOUTS = ["N to 1", "1 to N", "N to N", "N to N, both ways", ENCODER_DECODER]


@dataclass(frozen=True)
class Sizes:
    """What every readout gets."""

    cell: str
    hidden: PositiveInt
    embedding: PositiveInt
    shortest: PositiveInt  # symbols of a source
    longest: PositiveInt
    batch: PositiveInt
    examples: PositiveInt  # of the test
    fit: Recipe


class OnePass(nn.Module):
    """N to N and N to 1: a recurrent encoder and an output layer on its outputs.

    Args:
        last: read one output off the last state only.
        both_ways: a second layer reads from the end.
    """

    def __init__(self, sizes: Sizes, last: bool, both_ways: bool) -> None:
        super().__init__()
        self.last = last
        self.embedding = nn.Embedding(FIRST + len(STANDS_FOR), sizes.embedding)
        self.encoder = RecurrentEncoder(
            sizes.embedding, cell=sizes.cell, hidden_size=sizes.hidden, layers=1, bidirectional=both_ways, dropout=0.0
        )
        self.output = nn.Linear(self.encoder.output_size, FIRST + SYMBOLS)

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, places, V) of all that can be written, and which of them (B, places) there are."""
        mask = batch.source_mask[:, 1:]  # as many as symbols: the end that every source has is not read
        ids = batch.source[:, :-1]
        outputs = self.output(self.encoder(self.embedding(ids), mask).values)
        if not self.last:
            return outputs, mask
        at = mask.sum(dim=1) - 1
        return outputs[torch.arange(len(at)), at].unsqueeze(1), torch.ones(len(at), 1, dtype=torch.bool)

    def loss(self, batch: Batch) -> Tensor:
        logits, mask = self.logits(batch)
        wanted = self._wanted(batch, mask.size(1))
        return F.cross_entropy(logits[mask], wanted[mask])

    @torch.no_grad()
    def right(self, batch: Batch) -> list[bool]:
        """Whether what is written, up to the first end, is the translation."""
        logits, mask = self.logits(batch)
        symbols = batch.target_mask.sum(dim=1) - 1
        counts = mask & (torch.arange(mask.size(1)) <= symbols.unsqueeze(1))  # what follows the first end does not
        wrong = (logits.argmax(dim=2) != self._wanted(batch, mask.size(1))) & counts
        fits = symbols <= mask.sum(dim=1)
        return (fits & ~wrong.any(dim=1)).tolist()

    @staticmethod
    def _wanted(batch: Batch, places: int) -> Tensor:
        """(B, places): as much of the translation as there are places for, then ends."""
        ids = batch.target.masked_fill(~batch.target_mask, EOS)
        return F.pad(ids, (0, max(0, places - ids.size(1))), value=EOS)[:, :places]


class Unrolled(nn.Module):
    """1 to N, and N to M: the product's encoder–decoder with a fixed-size encoding.

    Args:
        first: show it the first symbol only.
    """

    def __init__(self, sizes: Sizes, first: bool) -> None:
        super().__init__()
        self.first = first
        width, part = sizes.embedding, {"cell": sizes.cell, "hidden_size": sizes.hidden, "layers": 1, "dropout": 0.0}
        encoder = RecurrentEncoder(width, bidirectional=False, **part)  # type: ignore[arg-type]
        decoder = RecurrentDecoder(
            width,
            encoder.output_size,
            encoder.summary_size,
            attention=FixedContext("fixed"),
            **part,  # type: ignore[arg-type]
        )
        vocabularies = FIRST + len(STANDS_FOR), FIRST + SYMBOLS
        self.model = EncoderDecoder(encoder, decoder, *vocabularies, width, "output", 0.0)

    def loss(self, batch: Batch) -> Tensor:
        sums = self.model(self._shown(batch))
        return sums.loss / sums.tokens  # type: ignore[no-any-return]

    @torch.no_grad()
    def right(self, batch: Batch) -> list[bool]:
        """Whether it writes the translation if each time the most probable symbol is taken.

        As long as it is right it reads the translation itself, so that can be given to it.
        """
        shown = self._shown(batch)
        state = self.model.start(shown.source, shown.source_mask)
        right = torch.ones(batch.size, dtype=torch.bool)
        for t in range(batch.target.size(1)):
            logits, state = self.model.step(batch.target_input[:, t], state)
            right &= (logits.argmax(dim=1) == batch.target[:, t]) | ~batch.target_mask[:, t]
        return right.tolist()

    def _shown(self, batch: Batch) -> Batch:
        if not self.first:
            return batch
        return dataclasses.replace(batch, source=batch.source[:, :1], source_mask=batch.source_mask[:, :1])


def readout(name: str, sizes: Sizes) -> OnePass | Unrolled:
    """One of READOUTS, with new weights."""
    if name in ("1 to N", ENCODER_DECODER):
        return Unrolled(sizes, first=name == "1 to N")
    return OnePass(sizes, last=name == "N to 1", both_ways=name == "N to N, both ways")

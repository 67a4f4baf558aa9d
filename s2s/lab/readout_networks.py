"""Networks of one cell that differ in the wiring of their inputs and outputs; see `s2s.lab.readouts`.

Outputs after the end of a translation are ends, too. Shapes: B batch, V target vocabulary.
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
from s2s.lab.toy_language import FIRST, SYMBOLS, WORD_LENGTHS
from s2s.models.recurrent import FixedContext, RecurrentDecoder, RecurrentEncoder
from s2s.models.seq2seq import EncoderDecoder
from s2s.schema import PositiveInt

ENCODER_DECODER = "N to M, encoder–decoder"
NETWORKS = ["N to 1", "1 to N", "N to N", "N to N, both ways", ENCODER_DECODER]


@dataclass(frozen=True)
class Sizes:
    """Sizes and training of every network."""

    cell: str
    hidden: PositiveInt
    embedding: PositiveInt
    shortest: PositiveInt  # symbols of a source
    longest: PositiveInt
    batch: PositiveInt
    examples: PositiveInt  # of the test
    fit: Recipe


class Tagger(nn.Module):
    """N to N and N to 1: a recurrent encoder and an output layer on its states.

    Args:
        last: one output, from the last state.
        bidirectional: a second layer reads from the end.
    """

    def __init__(self, sizes: Sizes, last: bool, bidirectional: bool) -> None:
        super().__init__()
        self.last = last
        self.embedding = nn.Embedding(FIRST + len(WORD_LENGTHS), sizes.embedding)
        options = {"cell": sizes.cell, "hidden_size": sizes.hidden, "layers": 1, "dropout": 0.0}
        self.encoder = RecurrentEncoder(sizes.embedding, bidirectional=bidirectional, **options)  # type: ignore[arg-type]
        self.output = nn.Linear(self.encoder.output_size, FIRST + SYMBOLS)

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) of T output positions, and the mask (B, T) of those that exist."""
        mask = batch.source_mask[:, 1:]  # one position per symbol: `</s>` of the source is not read
        ids = batch.source[:, :-1]
        outputs = self.output(self.encoder(self.embedding(ids), mask).values)
        if not self.last:
            return outputs, mask
        last = mask.sum(dim=1) - 1
        return outputs[torch.arange(len(last)), last].unsqueeze(1), torch.ones(len(last), 1, dtype=torch.bool)

    def loss(self, batch: Batch) -> Tensor:
        logits, mask = self.logits(batch)
        return F.cross_entropy(logits[mask], self._target(batch, mask.size(1))[mask])

    @torch.no_grad()
    def right(self, batch: Batch) -> list[bool]:
        """Whether the output up to the first end is the translation."""
        logits, mask = self.logits(batch)
        symbols = batch.target_mask.sum(dim=1) - 1
        counts = mask & (torch.arange(mask.size(1)) <= symbols.unsqueeze(1))  # up to the first end
        wrong = (logits.argmax(dim=2) != self._target(batch, mask.size(1))) & counts
        fits = symbols <= mask.sum(dim=1)
        return (fits & ~wrong.any(dim=1)).tolist()

    @staticmethod
    def _target(batch: Batch, length: int) -> Tensor:
        """(B, length): the translation cut or padded with ends to this length."""
        ids = batch.target.masked_fill(~batch.target_mask, EOS)
        return F.pad(ids, (0, max(0, length - ids.size(1))), value=EOS)[:, :length]


class Generator(nn.Module):
    """1 to N and N to M: the encoder–decoder of s2s with a fixed-length context vector.

    Args:
        first_only: the encoder reads the first symbol only.
    """

    def __init__(self, sizes: Sizes, first_only: bool) -> None:
        super().__init__()
        self.first_only = first_only
        width, options = sizes.embedding, {"cell": sizes.cell, "hidden_size": sizes.hidden, "layers": 1, "dropout": 0.0}
        encoder = RecurrentEncoder(width, bidirectional=False, **options)  # type: ignore[arg-type]
        decoder = RecurrentDecoder(
            width,
            encoder.output_size,
            encoder.summary_size,
            attention=FixedContext("fixed"),
            **options,  # type: ignore[arg-type]
        )
        vocabularies = FIRST + len(WORD_LENGTHS), FIRST + SYMBOLS
        self.model = EncoderDecoder(encoder, decoder, *vocabularies, width, "output", 0.0)

    def loss(self, batch: Batch) -> Tensor:
        sums = self.model(self._source(batch))
        return sums.loss / sums.tokens  # type: ignore[no-any-return]

    @torch.no_grad()
    def right(self, batch: Batch) -> list[bool]:
        """Whether greedy decoding gives the translation.

        As long as its output is right its inputs are the translation, so teacher forcing gives the same answer.
        """
        source = self._source(batch)
        state = self.model.start(source.source, source.source_mask)
        right = torch.ones(batch.size, dtype=torch.bool)
        for t in range(batch.target.size(1)):
            logits, state = self.model.step(batch.target_input[:, t], state)
            right &= (logits.argmax(dim=1) == batch.target[:, t]) | ~batch.target_mask[:, t]
        return right.tolist()

    def _source(self, batch: Batch) -> Batch:
        if not self.first_only:
            return batch
        return dataclasses.replace(batch, source=batch.source[:, :1], source_mask=batch.source_mask[:, :1])


def build_network(name: str, sizes: Sizes) -> Tagger | Generator:
    """One of NETWORKS, with new weights."""
    if name in ("1 to N", ENCODER_DECODER):
        return Generator(sizes, first_only=name == "1 to N")
    return Tagger(sizes, last=name == "N to 1", bidirectional=name == "N to N, both ways")

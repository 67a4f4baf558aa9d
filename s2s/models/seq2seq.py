"""Models that predict a target token by token: embeddings, decoder, output layer; the encoder–decoder among them.

What a decoder knows before the first target token makes the difference: in the `EncoderDecoder` (Sutskever et al. 2014;
Cho et al. 2014) an encoder has read the source; `s2s.models.decoder_only` has the other kind.

Embeddings are scaled by √E (Vaswani et al. 2017, section 3.4), so one matrix has the right scale both as embedding and
as output layer. `tie_embeddings`: `none`, `output` (target embedding and output layer share a matrix, Press & Wolf
2017), `all` (the source embedding too; needs a joint tokeniser). A weight file stores a tied tensor once
(`s2s.training.weights`); `TIED` has all of its names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.data.batching import Batch
from s2s.data.subwords import PAD
from s2s.models.interface import Decoder, DecodeState, Encoder, Gates, LossSums, Seq2Seq
from s2s.nn.dropout import Dropout
from s2s.nn.loss import projected_cross_entropy, token_log_probs
from s2s.nn.mixers import Kind

Tie = Literal["none", "output", "all"]
TIED: dict[str, tuple[str, ...]] = {  # names of the one tensor that they share, by `tie_embeddings`
    "none": (),
    "output": ("target_embedding.weight", "output_weight"),
    "all": ("target_embedding.weight", "source_embedding.weight", "output_weight"),
}
# Tensors with one row for each piece of a vocabulary, and the side of that vocabulary: 0 source, 1 target.
VOCABULARY_SIDE = {"source_embedding.weight": 0, "target_embedding.weight": 1, "output_weight": 1, "output_bias": 1}
VOCABULARY_SIDE |= {"head_bias": 0}  # of a masked language model


def with_tied_names(tensors: Mapping[str, Tensor], tie_embeddings: object) -> dict[str, Tensor]:
    """The tensors of a weight file, a tied one under each of its names."""
    names = TIED.get(str(tie_embeddings), ())
    stored = next((tensors[name] for name in names if name in tensors), None)
    named = {**tensors, **({} if stored is None else dict.fromkeys(names, stored))}
    if "target_embedding.weight" in named:  # a language model, whatever it ties, has one embedding for both sides
        named.setdefault("source_embedding.weight", named["target_embedding.weight"])
    return named


def at_target_tokens(hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
    """Hidden vectors (N, D) and targets (N,) of the tokens in the loss; of a fixed shape all, with a mask of these."""
    hidden, target = hidden.flatten(0, 1), batch.target.flatten()
    if batch.target_positions is None:
        return hidden, target, batch.target_mask.flatten()
    return hidden.index_select(0, batch.target_positions), target.index_select(0, batch.target_positions), None


class Autoregressive(Seq2Seq):
    """Base class of models with a decoder, for vocabularies of these sizes; the dropout is that of embeddings.

    A subclass has `start`, and `_teacher_forced`, the state before the first target token of a batch.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        decoder: Decoder,
        source_size: int,
        target_size: int,
        embedding_size: int,
        tie_embeddings: Tie,
        dropout: float,
    ) -> None:
        super().__init__()
        if encoder is not None:
            self.encoder = encoder
        self.decoder = decoder
        self.scale = math.sqrt(embedding_size)
        self.dropout = Dropout(dropout)
        self.target_embedding = nn.Embedding(target_size, embedding_size)
        nn.init.normal_(self.target_embedding.weight, std=1 / self.scale)
        if tie_embeddings == "all":
            self.source_embedding = self.target_embedding
        else:
            self.source_embedding = nn.Embedding(source_size, embedding_size)
            nn.init.normal_(self.source_embedding.weight, std=1 / self.scale)
        if tie_embeddings == "none":
            weight = nn.Parameter(torch.empty(target_size, decoder.output_size))
            self.output_weight = nn.init.normal_(weight, std=1 / math.sqrt(decoder.output_size))
        else:
            self.output_weight = self.target_embedding.weight
        self.output_bias = nn.Parameter(torch.zeros(target_size))

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        return self._losses(self._hidden(batch, self._teacher_forced(batch)), batch, label_smoothing)

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        hidden, state = self.decoder(self._embed(self.target_embedding, tokens.unsqueeze(1)), state)
        return F.linear(hidden.squeeze(1), self.output_weight, self.output_bias), state

    def log_probs(self, batch: Batch) -> Tensor:
        hidden = self._hidden(batch, self._teacher_forced(batch))
        scores = token_log_probs(hidden, self.output_weight, self.output_bias, batch.target)
        return scores.masked_fill(~batch.target_mask, 0.0)

    def attention(self, batch: Batch) -> dict[str, Tensor]:
        state = self.start(batch.source, batch.source_mask)
        return self.decoder.attention(self._embed(self.target_embedding, batch.target_input), state)

    def _teacher_forced(self, batch: Batch) -> DecodeState:
        lengths = None if batch.target_positions is None else batch.source_lengths
        return self.start(batch.source, batch.source_mask, lengths)

    def _hidden(self, batch: Batch, state: DecodeState) -> Tensor:
        """(B, T, D) hidden vectors with the reference as the decoder's input."""
        return self.decoder(self._embed(self.target_embedding, batch.target_input), state)[0]  # type: ignore[no-any-return]

    def _losses(self, hidden: Tensor, batch: Batch, label_smoothing: float) -> LossSums:
        hidden, target, mask = at_target_tokens(hidden, batch)
        loss, nll = projected_cross_entropy(hidden, self.output_weight, self.output_bias, target, label_smoothing, mask)
        return LossSums(loss, nll.detach(), batch.target_mask.sum())

    def _embed(self, table: nn.Embedding, tokens: Tensor) -> Tensor:
        return self.dropout(table(tokens) * self.scale)  # type: ignore[no-any-return]


class EncoderDecoder(Autoregressive):
    """Any encoder with any decoder."""

    encoder: Encoder

    def start(self, src: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> DecodeState:
        embedded = self._embed(self.source_embedding, src.masked_fill(~mask, PAD))
        more = (lengths,) if self.encoder.takes_lengths else ()
        return self.decoder.init_state(self.encoder(embedded, mask, *more))

    def gates(self, batch: Batch) -> Gates:
        source = self._embed(self.source_embedding, batch.source.masked_fill(~batch.source_mask, PAD))
        state = self.start(batch.source, batch.source_mask)
        target = self._embed(self.target_embedding, batch.target_input)
        sides = [
            (self.encoder.gates(source, batch.source_mask), batch.source_mask),
            (self.decoder.gates(target, state), batch.target_mask),
        ]
        return {
            layer: {gate: values[mask] for gate, values in gates.items()}
            for side, mask in sides
            for layer, gates in side.items()
        }

    @property
    def reads(self) -> Literal["fixed", "attention"]:
        return self.decoder.reads

    @property
    def mixes(self) -> tuple[Kind, Kind]:
        return self.encoder.mixes, self.decoder.mixes

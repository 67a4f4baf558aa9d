"""Decoder-only models (GPT; Radford et al. 2018): one causal stack of blocks over source and target, x … </s> <s> y … .

The source is a prefix of the target: the blocks read it first, with the embeddings of the source, and predict the
target from what their mixers keep of it. With self-attention that is a key and a value of each source token. With a
recurrent mixer it is a state of fixed length (Press & Smith 2018), with a convolution the last few tokens.

`prefix` is how the source is read (Raffel et al. 2020, section 3.2.1): `causal`, each token after those before it; or
`full`, each token sees the whole source (self-attention only). The loss is that of the target; `source_loss` adds so
many times that of the source's own tokens, each predicted from those before it.

As a `LanguageModel` the same stack predicts text that has no source. In place of a translation it continues a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from s2s.data.batching import Batch
from s2s.data.subwords import BOS, PAD
from s2s.errors import S2SError
from s2s.models.blocks import BlockDecoder
from s2s.models.interface import DecodeState, Gates, LossSums
from s2s.models.seq2seq import Autoregressive, Tie
from s2s.nn.loss import projected_cross_entropy
from s2s.nn.mixers import Kind

Prefix = Literal["causal", "full"]


class DecoderOnly(Autoregressive):
    """A decoder-only model that translates.

    Args:
        decoder: a stack of blocks without attention over the source.
        prefix, source_loss: see above.
    """

    decoder: BlockDecoder

    def __init__(
        self,
        decoder: BlockDecoder,
        source_size: int,
        target_size: int,
        embedding_size: int,
        tie_embeddings: Tie,
        dropout: float,
        prefix: Prefix = "causal",
        source_loss: float = 0.0,
    ) -> None:
        super().__init__(None, decoder, source_size, target_size, embedding_size, tie_embeddings, dropout)
        self.full, self.source_loss = prefix == "full", source_loss
        if self.full and not decoder.mixer.full_prefix:
            raise S2SError(
                "config: model.prefix=full lets each source token see the later ones, which this mixer cannot: use "
                "model.prefix=causal, or the mixer self_attention"
            )
        if source_loss and self.full:
            raise S2SError(
                "config: model.source_loss predicts each source token from those before it, and with model.prefix=full "
                "it would be seen: use model.prefix=causal"
            )
        if source_loss and tie_embeddings != "all":
            raise S2SError(
                "config: model.source_loss predicts source tokens with the output layer of the target: set "
                "model.tie_embeddings=all"
            )

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        if not self.source_loss:
            return super().forward(batch, label_smoothing)
        lengths = None if batch.target_positions is None else batch.source_lengths
        source, state = self._read(batch.source, batch.source_mask, lengths)
        sums = self._losses(self._hidden(batch, state), batch, label_smoothing)
        hidden, target, mask = source[:, :-1], batch.source[:, 1:], batch.source_mask[:, 1:]
        rows = hidden.flatten(0, 1), self.output_weight, self.output_bias, target.flatten()
        loss, _ = projected_cross_entropy(*rows, label_smoothing, mask.flatten())
        return sums._replace(loss=sums.loss + self.source_loss * loss)

    def start(self, src: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> DecodeState:
        return self._read(src, mask, lengths)[1]

    def attention(self, batch: Batch) -> dict[str, Tensor]:
        """Attention weights (B, T, S) of the target over the source; the rest of each row went to the target."""
        return {name: weights[..., : batch.source.size(1)] for name, weights in super().attention(batch).items()}

    def gates(self, batch: Batch) -> Gates:
        return {}

    @property
    def reads(self) -> Literal["fixed", "attention"]:
        return "attention" if self.decoder.mixes == "self-attention" else "fixed"

    @property
    def mixes(self) -> tuple[Kind, Kind]:
        return self.decoder.mixes, self.decoder.mixes

    def _read(self, src: Tensor, mask: Tensor, lengths: Sequence[int] | None) -> tuple[Tensor, DecodeState]:
        """(B, S, D) hidden vectors of the source, and the state after it."""
        embedded = self._embed(self.source_embedding, src.masked_fill(~mask, PAD))
        hidden, rows = self.decoder.prefix(embedded, mask, lengths, self.full)
        return hidden, DecodeState({"mask": mask}, rows)


class LanguageModel(DecoderOnly):
    """The model of text without a source, p(y_t | <s>, y_1 … y_{t-1}); search continues the source, a line of text."""

    continues_source = True

    def __init__(
        self, decoder: BlockDecoder, size: int, embedding_size: int, tie_embeddings: Tie, dropout: float
    ) -> None:
        super().__init__(decoder, size, size, embedding_size, tie_embeddings, dropout)
        self.source_embedding = self.target_embedding

    def start(self, src: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> DecodeState:
        """The state after `<s>` and all tokens of the line but its last, which the first step reads instead of `<s>`.

        Each line has a token before its `</s>`.
        """
        line, real = src[:, :-1].masked_fill(~mask[:, 1:], PAD), mask[:, 1:]
        inputs = torch.cat([torch.full_like(line[:, :1], BOS), line[:, :-1]], dim=1)
        _, rows = self.decoder.prefix(
            self._embed(self.target_embedding, inputs), real, None if lengths is None else [n - 1 for n in lengths]
        )
        last = line.gather(1, real.sum(1, keepdim=True) - 1)
        return DecodeState({"mask": mask}, {**rows, "last": last})

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        last = state.rows["last"]
        tokens = torch.where(tokens == BOS, last.squeeze(1), tokens)  # search never chooses <s>
        logits, after = super().step(tokens, state)
        return logits, DecodeState(after.shared, {**after.rows, "last": last})

    def attention(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def _teacher_forced(self, batch: Batch) -> DecodeState:
        like = self.target_embedding.weight[:1].expand(batch.target.size(0), -1)
        return DecodeState({"mask": batch.source_mask}, self.decoder.init_rows(like))

"""Masked language models (BERT; Devlin et al. 2019): an encoder that predicts masked tokens from both sides.

    h = encoder(corrupted source),    logits = E LN(gelu(W h + b)) + c        at each chosen position

E is the embedding of the source (section 3.1 there, and its published code). A translation model that starts from such
a run takes over its encoder and its embedding; the head is for the pre-training alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.data.batching import Batch
from s2s.data.subwords import PAD
from s2s.models.interface import Encoder, LossSums, Seq2Seq
from s2s.models.seq2seq import at_target_tokens
from s2s.nn.dropout import Dropout
from s2s.nn.loss import projected_cross_entropy, token_log_probs


class MaskedLanguageModel(Seq2Seq):
    """Any encoder with a head over the source vocabulary; the dropout is that of embeddings."""

    writes_text = False

    def __init__(self, encoder: Encoder, source_size: int, embedding_size: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale = math.sqrt(embedding_size)
        self.dropout = Dropout(dropout)
        self.source_embedding = nn.Embedding(source_size, embedding_size)
        nn.init.normal_(self.source_embedding.weight, std=1 / self.scale)
        self.head = nn.ModuleDict(
            {"dense": nn.Linear(encoder.output_size, embedding_size), "norm": nn.LayerNorm(embedding_size)}
        )
        self.head_bias = nn.Parameter(torch.zeros(source_size))

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        hidden, target, mask = at_target_tokens(self._encoded(batch), batch)
        weight, bias = self.source_embedding.weight, self.head_bias
        loss, nll = projected_cross_entropy(self._head(hidden), weight, bias, target, label_smoothing, mask)
        return LossSums(loss, nll.detach(), batch.target_mask.sum())

    def log_probs(self, batch: Batch) -> Tensor:
        hidden = self._head(self._encoded(batch))
        scores = token_log_probs(hidden, self.source_embedding.weight, self.head_bias, batch.target)
        return scores.masked_fill(~batch.target_mask, 0.0)

    def correct(self, batch: Batch) -> Tensor:
        """Number of the chosen positions whose most probable token is the right one."""
        chosen = self._head(self._encoded(batch)[batch.target_mask])
        best = F.linear(chosen, self.source_embedding.weight, self.head_bias).argmax(-1)
        return (best == batch.target[batch.target_mask]).sum()

    def _encoded(self, batch: Batch) -> Tensor:
        """(B, S, D) the encoder's output."""
        lengths = None if batch.target_positions is None else batch.source_lengths
        more = (lengths,) if self.encoder.takes_lengths else ()
        source = batch.source.masked_fill(~batch.source_mask, PAD)
        embedded = self.dropout(self.source_embedding(source) * self.scale)
        return self.encoder(embedded, batch.source_mask, *more).values  # type: ignore[no-any-return]

    def _head(self, hidden: Tensor) -> Tensor:
        return self.head["norm"](F.gelu(self.head["dense"](hidden)))  # type: ignore[no-any-return]

"""A recurrent language model: the smallest model that makes a cell read real text.

    P(y_1 … y_n) = Π_t P(y_t | y_1 … y_{t-1}),   P(y_t | …) = softmax(V h_t + c),   h_t = cell(x_t, h_{t-1})

x_t is the embedding of y_{t-1} (y_0 is `<s>`), and the last y is `</s>`. Its score is the perplexity on lines it has
not seen, exp of the mean cross-entropy of a token: a model that chose at random among k tokens at each step would have
k.

The text is the target side of a corpus, cut into subwords as a training run would do it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from s2s.config import DataConfig
from s2s.data.batching import Batch, BatchSampler, Ids, collate
from s2s.data.corpus import Split, load_corpus
from s2s.data.ids import cached_ids
from s2s.data.tokenizer import train_tokenizer
from s2s.lab.fit import Recipe, Watch, fit, seeded
from s2s.nn.cells import cell_class
from s2s.nn.loss import projected_cross_entropy
from s2s.nn.recurrent import RecurrentLayer
from s2s.schema import PositiveInt, build


class Text(NamedTuple):
    """Lines of token ids, without `<s>` and `</s>`; ids are below `vocabulary`."""

    train: Sequence[Ids]
    held_out: Sequence[Ids]
    vocabulary: int


@dataclass(frozen=True)
class LanguageSettings:
    """A language model's sizes and training."""

    embedding: PositiveInt
    hidden: PositiveInt
    batch_tokens: PositiveInt  # lines × the longest of them
    fit: Recipe


@dataclass(frozen=True)
class _Data:
    data: DataConfig


def read_text(data: Mapping[str, Any]) -> Text:
    """The target side of a corpus.

    Args:
        data: the `data` section of a training run's configuration; `Bench.configuration` composes one.

    Raises:
        S2SError: it cannot be read.
    """
    config = build(_Data, {"data": data}).data
    corpus = load_corpus(config, ["train", "validation"])
    tokenizer = train_tokenizer(config.tokenizer, corpus.train.source, corpus.train.target)
    model = tokenizer.target

    def ids(split: Split) -> Sequence[Ids]:
        return cached_ids(split.target, model.encode, model.size, model.proto, "tokenising the text")  # type: ignore[return-value]

    return Text(ids(corpus.train), ids(corpus.validation), model.size)


class LanguageModel(nn.Module):
    """Embedding, one recurrent layer, output layer.

    Args:
        cell: a registered cell, see `s2s.nn.cells`.
        cell_options: of its constructor.
    """

    def __init__(
        self, cell: str, vocabulary: int, embedding: int, hidden: int, cell_options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.layer = RecurrentLayer(cell_class(cell)(embedding, hidden, **(cell_options or {})))
        self.output = nn.Linear(self.layer.cell.output_size, vocabulary)

    def forward(self, batch: Batch) -> tuple[Tensor, int]:
        """The cross-entropy of a batch's target side, summed, in nats; and the number of tokens, `</s>` included."""
        mask = batch.target_mask
        states, _ = self.layer(self.embedding(batch.target_input), mask)
        loss, _ = projected_cross_entropy(states[mask], self.output.weight, self.output.bias, batch.target[mask])
        return loss, batch.tokens


def batches(lines: Sequence[Ids], batch_tokens: int, seed: int) -> Iterator[Batch]:
    """Lines of similar length in batches, epoch after epoch without an end, each in an order of its own.

    Raises:
        S2SError: a line is longer than a batch may be.
    """
    plan = _plan(lines, batch_tokens, seed)
    return (_batch(lines, index) for epoch in itertools.count() for index in plan.epoch(epoch))


def train_language_model(
    text: Text,
    cell: str,
    settings: LanguageSettings,
    seed: int,
    cell_options: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> LanguageModel:
    """A language model, trained on `text.train`; the seed decides its first weights and the order of the lines.

    Args:
        watch: see `s2s.lab.fit.fit`; the loss is that of a token, in nats.
    """
    with seeded(seed):
        model = LanguageModel(cell, text.vocabulary, settings.embedding, settings.hidden, cell_options)
    training = batches(text.train, settings.batch_tokens, seed)

    def loss() -> Tensor:
        total, tokens = model(next(training))
        return total / tokens  # type: ignore[no-any-return]

    fit(model, loss, settings.fit, watch=watch)
    return model


@torch.no_grad()
def perplexity(model: LanguageModel, lines: Sequence[Ids], batch_tokens: int) -> float:
    """exp of the mean cross-entropy of a token of these lines, `</s>` included."""
    sums = [model(_batch(lines, index)) for index in _plan(lines, batch_tokens, 0).epoch(0)]
    return math.exp(sum(loss.item() for loss, _ in sums) / sum(tokens for _, tokens in sums))


def _plan(lines: Sequence[Ids], batch_tokens: int, seed: int) -> BatchSampler:
    lengths = np.array([len(line) + 1 for line in lines])
    return BatchSampler(lengths, lengths, batch_tokens, seed)


def _batch(lines: Sequence[Ids], index: Sequence[int] | Any) -> Batch:
    chosen = [lines[i] for i in index]
    return collate(chosen, chosen, index)

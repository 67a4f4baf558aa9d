"""Recurrent language model: the smallest model that applies a cell to real text.

    P(y_1 … y_n) = Π_t P(y_t | y_1 … y_{t-1}),   P(y_t | …) = softmax(V h_t + c),   h_t = cell(x_t, h_{t-1})

x_t is the embedding of y_{t-1} (y_0 is `<s>`), and the last y is `</s>`. The score is the perplexity on held-out lines,
exp of the mean cross-entropy per token; a uniform choice among k tokens has perplexity k.

The text is the target side of a corpus, segmented into subwords as for a training run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from s2s.config import DataConfig
from s2s.data.batching import Batch, BatchSampler, Ids, collate
from s2s.data.corpus import Split, load_corpus
from s2s.data.ids import cached_ids
from s2s.data.tokenizer import train_tokenizer
from s2s.lab.fit import Recipe, fit, seeded
from s2s.models.blocks import build_stack
from s2s.nn.cells import CELLS
from s2s.nn.loss import projected_cross_entropy
from s2s.nn.positions import Positions
from s2s.nn.recurrent import RecurrentLayer
from s2s.schema import PositiveInt

Model = TypeVar("Model", bound="LanguageModel")


class Text(NamedTuple):
    """Lines of token ids without `<s>` and `</s>`; ids are below `vocabulary`."""

    train: Sequence[Ids]
    held_out: Sequence[Ids]
    vocabulary: int


@dataclass(frozen=True)
class LanguageSettings:
    """Sizes and training of a language model."""

    embedding: PositiveInt
    hidden: PositiveInt
    batch_tokens: PositiveInt  # lines × the longest of them
    fit: Recipe


def read_text(data: DataConfig) -> Text:
    """The target side of a corpus.

    Raises:
        S2SError: it cannot be read.
    """
    corpus = load_corpus(data, ["train", "validation"])
    tokenizer = train_tokenizer(data.tokenizer, corpus.train.source, corpus.train.target)
    model = tokenizer.target

    def ids(split: Split) -> Sequence[Ids]:
        return cached_ids(split.target, model.encode, model.size, model.proto, "tokenising the text")  # type: ignore[return-value]

    return Text(ids(corpus.train), ids(corpus.validation), model.size)


class LanguageModel(nn.Module):
    """Embedding, one recurrent layer of a registered cell (`s2s.nn.cells`), output layer."""

    layer: RecurrentLayer

    def __init__(self, cell: str | None, vocabulary: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        if cell is not None:
            self.layer = RecurrentLayer(CELLS.find(cell)(embedding, hidden))
        self.output = nn.Linear(hidden, vocabulary)

    def states(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, E) embedded tokens -> (B, T, H), which the output layer reads."""
        return self.layer(x, mask)[0]  # type: ignore[no-any-return]

    def forward(self, batch: Batch) -> tuple[Tensor, int]:
        """The summed cross-entropy of a batch's target side, in nats, and its number of tokens, `</s>` included."""
        mask = batch.target_mask
        states = self.states(self.embedding(batch.target_input), mask)
        loss, _ = projected_cross_entropy(states[mask], self.output.weight, self.output.bias, batch.target[mask])
        return loss, batch.tokens


class BlockLanguageModel(LanguageModel):
    """The same with a stack of causal blocks (`s2s.models.blocks`) in place of the recurrent layer.

    Args:
        mixer: config section of the mixer; the blocks have no feed-forward network.
        size: width of the blocks and of the embedding.
        positions: see `s2s.models.blocks`.
    """

    def __init__(
        self, mixer: Mapping[str, Any], vocabulary: int, size: int, layers: int, heads: int, positions: Positions
    ) -> None:
        super().__init__(None, vocabulary, size, size)
        self.first, self.blocks, self.final = build_stack(
            size, mixer, layers, heads, 0, 0.0, "pre", positions, causal=True
        )

    def states(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.first is not None:
            x, _ = self.first.extend(x, self.first.start(x))
        for block in self.blocks:
            x, _, _ = block.decode(x, block.mixer.start(x))  # type: ignore[operator, union-attr]
        return self.final(x)  # type: ignore[no-any-return]


def batches(lines: Sequence[Ids], batch_tokens: int, seed: int) -> Iterator[Batch]:
    """An endless stream of batches of lines of similar length, in another order in each epoch.

    Raises:
        S2SError: a line is longer than a batch may be.
    """
    plan = _plan(lines, batch_tokens, seed)
    return (_batch(lines, index) for epoch in itertools.count() for index in plan.epoch(epoch))


def train_language_model(text: Text, cell: str, settings: LanguageSettings, seed: int) -> LanguageModel:
    """A language model trained on `text.train`; the seed fixes its initial weights and the order of the lines."""
    with seeded(seed):
        model = LanguageModel(cell, text.vocabulary, settings.embedding, settings.hidden)
    return fit_language_model(model, text, settings, seed)


def fit_language_model(model: Model, text: Text, settings: LanguageSettings, seed: int) -> Model:
    """The model, trained on `text.train`; the seed fixes the order of the lines."""
    training = batches(text.train, settings.batch_tokens, seed)

    def loss() -> Tensor:
        total, tokens = model(next(training))
        return total / tokens  # type: ignore[no-any-return]

    fit(model, loss, settings.fit)
    return model


@torch.no_grad()
def perplexity(model: LanguageModel, lines: Sequence[Ids], batch_tokens: int) -> float:
    """exp of the mean cross-entropy per token of these lines, `</s>` included."""
    sums = [model(_batch(lines, index)) for index in _plan(lines, batch_tokens, 0).epoch(0)]
    return math.exp(sum(loss.item() for loss, _ in sums) / sum(tokens for _, tokens in sums))


def _plan(lines: Sequence[Ids], batch_tokens: int, seed: int) -> BatchSampler:
    lengths = np.array([len(line) + 1 for line in lines])
    return BatchSampler(lengths, lengths, batch_tokens, seed)


def _batch(lines: Sequence[Ids], index: Sequence[int] | Any) -> Batch:
    examples = [lines[i] for i in index]
    return collate(examples, examples, index)

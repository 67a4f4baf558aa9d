"""A decoding configuration and small models whose probabilities can be computed independently."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2s.config import DecodingConfig
from s2s.data.tokenizer import BOS, EOS, PAD
from s2s.decoding.search import Hypothesis, search
from s2s.models.interface import DecodeState

CONFIG = DecodingConfig(
    name="test",
    strategy="beam",
    beam=4,
    length_penalty=0.6,
    n_best=1,
    temperature=1.0,
    max_ratio=2.0,
    max_extra=5,
    max_source=100,
    batch_tokens=1000,
    precision="fp32",
    seed=1,
)
SIZE = 1009


class TableModel:
    """The next token depends, through a table of random logits, on the source and on all tokens so far.

    The history is a hash in `rows`, the source a hash in `shared`, so that a row that ends up with the wrong
    sentence or the wrong past gives different numbers. With `levels` the logits have few values: ties everywhere.
    """

    def __init__(self, content: int, seed: int, levels: int | None = None, spread: float = 2.0) -> None:
        table = torch.randn(SIZE, EOS + 1 + content, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.table = (table * spread if levels is None else (table * 2).clamp(-levels, levels).round()).contiguous()
        self.sizes: list[int] = []

    def start(self, src: Tensor, mask: Tensor) -> DecodeState:
        positions = torch.arange(1, src.size(1) + 1)
        source = (src * mask * positions * 7919).sum(1) % SIZE
        return DecodeState({"source": source}, {"past": torch.zeros_like(source)})

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        self.sizes.append(len(tokens))
        source = state.shared["source"]
        past = (state.rows["past"] * 31 + tokens * 17 + 3) % SIZE
        index = (past + source.repeat_interleave(len(tokens) // len(source))) % SIZE
        return self.table[index], DecodeState(state.shared, {"past": past})

    def log_probs(self, source: list[int], tokens: list[int]) -> Tensor:
        """(V,) of the next token after `tokens`."""
        state = self.start(*padded([source]))
        for token in [BOS, *tokens]:
            logits, state = self.step(torch.tensor([token]), state)
        return logits[0].log_softmax(-1)

    def log_prob(self, source: list[int], tokens: list[int]) -> float:
        """Of the tokens and </s>."""
        return sum(float(self.log_probs(source, tokens[:i])[t]) for i, t in enumerate([*tokens, EOS]))


class RecurrentModel(nn.Module):
    """A small GRU whose encoder is the mean of the source embeddings; any dtype."""

    def __init__(self, vocabulary: int, size: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(vocabulary, size)
        self.cell = nn.GRUCell(size, size)
        self.output = nn.Linear(2 * size, vocabulary)

    def start(self, src: Tensor, mask: Tensor) -> DecodeState:
        mean = (self.embedding(src) * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        return DecodeState({"mean": mean}, {"hidden": mean.tanh()})

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        hidden = self.cell(self.embedding(tokens), state.rows["hidden"])
        mean = state.shared["mean"].repeat_interleave(len(tokens) // len(state.shared["mean"]), 0)
        return self.output(torch.cat([hidden, mean], 1)) * 3, DecodeState(state.shared, {"hidden": hidden})


def padded(sources: list[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, sources)) + 1
    rows = torch.tensor([[*s, EOS] + [PAD] * (longest - len(s) - 1) for s in sources])
    return rows, torch.tensor([[i <= len(s) for i in range(longest)] for s in sources])


def run(model, sources, config, limits, keys=None) -> list[list[Hypothesis]]:
    return search(model, *padded(sources), config, limits, keys)


def penalty(length: int, alpha: float) -> float:
    return ((5 + length) / 6) ** alpha

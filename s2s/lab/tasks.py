"""Toy tasks that need a memory: one network reads a sequence of vectors, its last state answers.

- **first symbol**: a symbol, then `delay` symbols of another alphabet that say nothing; which symbol was the first?
  (the idea of Hochreiter & Schmidhuber 1997, experiment 2)
- **adding**: pairs of a number and a mark; the mean of the two numbers that are marked, one in each half of the
  sequence (their experiment 4; they call an answer right if it is off by less than 0.04)

B batch, T time, I width of an input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.cells import cell_class
from s2s.nn.recurrent import RecurrentLayer

SYMBOLS = 8  # of the first symbol, and as many that say nothing
TOLERANCE = 0.04  # of the adding problem


class Reader(nn.Module):
    """A cell over a sequence, and a linear answer from its last output.

    Args:
        cell: a registered cell, see `s2s.nn.cells`.
        cell_options: of its constructor.
    """

    def __init__(
        self, cell: str, inputs: int, hidden: int, outputs: int, cell_options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.layer = RecurrentLayer(cell_class(cell)(inputs, hidden, **(cell_options or {})))
        self.answer = nn.Linear(self.layer.cell.output_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, I) -> (B, outputs)."""
        _, final = self.layer(x, None)
        return self.answer(final[0])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Task:
    """What a sequence asks for.

    Attributes:
        inputs, outputs: widths of an input vector and of the answer.
        draw: (batch, length, generator) -> sequences (B, T, inputs) and their answers; length is the delay or T.
        loss: of answers given (B, outputs) and wanted; 0-dimensional.
        right: (B,) which answers are right.
        chance: share of right answers of a network that remembers nothing.
        solved: a loss at which nearly all answers are right.
    """

    inputs: int
    outputs: int
    draw: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    right: Callable[[Tensor, Tensor], Tensor]
    chance: float
    solved: float

    def accuracy(self, model: nn.Module, examples: tuple[Tensor, Tensor]) -> float:
        """Share of right answers."""
        x, wanted = examples
        with torch.no_grad():
            return self.right(model(x), wanted).double().mean().item()


def first_symbol(batch: int, delay: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One-hot symbols (B, 1 + delay, 2 · SYMBOLS), and which was the first (B,)."""
    first = torch.randint(SYMBOLS, (batch, 1), generator=generator)
    rest = torch.randint(SYMBOLS, 2 * SYMBOLS, (batch, delay), generator=generator)
    return F.one_hot(torch.cat([first, rest], dim=1), 2 * SYMBOLS).float(), first.squeeze(1)


def adding(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers in [0, 1] with marks (B, T, 2), and the mean of the two that are marked (B, 1)."""
    numbers = torch.rand(batch, length, generator=generator)
    half = length // 2
    early = torch.randint(half, (batch, 1), generator=generator)
    late = torch.randint(half, length, (batch, 1), generator=generator)
    marks = torch.zeros(batch, length).scatter_(1, torch.cat([early, late], dim=1), 1.0)
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1, keepdim=True) / 2


TASKS: dict[str, Task] = {
    "first symbol": Task(
        inputs=2 * SYMBOLS,
        outputs=SYMBOLS,
        draw=first_symbol,
        loss=F.cross_entropy,
        right=lambda given, wanted: given.argmax(dim=1) == wanted,
        chance=1 / SYMBOLS,
        solved=0.02,
    ),
    "adding": Task(
        inputs=2,
        outputs=1,
        draw=adding,
        loss=F.mse_loss,
        right=lambda given, wanted: ((given - wanted).abs() < TOLERANCE).squeeze(1),
        # Always ½, the mean of two numbers from [0, 1]: it is nearer than ε with probability 1 - (1 - 2ε)².
        chance=1 - (1 - 2 * TOLERANCE) ** 2,
        solved=2e-4,
    ),
}

"""Synthetic long-term memory tasks: a network reads a sequence of vectors and answers from its last state.

- **first symbol**: which symbol came first, before `delay` distractor symbols of another alphabet?
  (the idea of Hochreiter & Schmidhuber 1997, experiment 2)
- **adding**: the mean of the two marked numbers, one in each half of a sequence of numbers and marks (their
  experiment 4; they accept an error below 0.04)

Shapes: B batch, T time, I input width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.cells import CELLS
from s2s.nn.recurrent import RecurrentLayer

SYMBOLS = 8  # candidates for the first symbol, and as many distractors
TOLERANCE = 0.04  # of the adding task


class SequenceModel(nn.Module):
    """A recurrent layer of a registered cell (`s2s.nn.cells`) with a linear layer on its last output."""

    def __init__(self, cell: str, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layer = RecurrentLayer(CELLS.find(cell)(inputs, hidden))
        self.output = nn.Linear(self.layer.cell.output_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, I) -> (B, outputs)."""
        _, final = self.layer(x, None)
        return self.output(final[0])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Task:
    """A task over sequences of vectors."""

    inputs: int  # width of an input vector
    outputs: int  # width of the answer
    # (batch, length, generator) -> sequences (B, T, inputs) and target answers; length is the delay or T
    sample: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]  # of answers (B, outputs) and targets; 0-dimensional
    correct: Callable[[Tensor, Tensor], Tensor]  # (B,) whether answers are right
    chance: float  # accuracy of a network without memory
    solved: float  # a loss at which nearly all answers are right

    def model(self, cell: str, hidden: int) -> SequenceModel:
        return SequenceModel(cell, self.inputs, hidden, self.outputs)

    def batch_loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, target = batch
        return self.loss(model(x), target)

    def accuracy(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> float:
        x, target = batch
        with torch.no_grad():
            return self.correct(model(x), target).double().mean().item()


def first_symbol(batch: int, delay: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One-hot symbols (B, 1 + delay, 2 · SYMBOLS), and the index of the first (B,)."""
    first = torch.randint(SYMBOLS, (batch, 1), generator=generator)
    rest = torch.randint(SYMBOLS, 2 * SYMBOLS, (batch, delay), generator=generator)
    return F.one_hot(torch.cat([first, rest], dim=1), 2 * SYMBOLS).float(), first.squeeze(1)


def adding(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers in [0, 1] with marks (B, T, 2), and the mean of the two marked ones (B, 1)."""
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
        sample=first_symbol,
        loss=F.cross_entropy,
        correct=lambda answer, target: answer.argmax(dim=1) == target,
        chance=1 / SYMBOLS,
        solved=0.02,
    ),
    "adding": Task(
        inputs=2,
        outputs=1,
        sample=adding,
        loss=F.mse_loss,
        correct=lambda answer, target: ((answer - target).abs() < TOLERANCE).squeeze(1),
        # The constant answer ½: the mean of two numbers from [0, 1] is within ε with probability 1 - (1 - 2ε)².
        chance=1 - (1 - 2 * TOLERANCE) ** 2,
        solved=2e-4,
    ),
}


def generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    """Random number generators for the training and for the test of a seed."""
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(1_000_000 + seed)

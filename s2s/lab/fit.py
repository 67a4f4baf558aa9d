"""Training loop of the lab's toy models.

    g ← ∂loss/∂θ,   g ← transform(g),   θ ← θ - rate · g          (gradient descent; or Adam, Kingma & Ba 2015)

`transform` changes a gradient before it is used, usually by clipping as in `s2s.training`. All random numbers follow
from a seed: the weights are drawn inside `seeded`, batches come from a generator of their own, so that models of
different shape see the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from s2s.schema import PositiveFloat, PositiveInt
from s2s.training.optim import clip_gradients, set_rate

Transform = Callable[[Sequence[Tensor]], object]  # changes the gradients of these parameters in place
Callback = Callable[[int, float], bool | None]


@dataclass(frozen=True)
class Recipe:
    """Training settings of a toy model."""

    updates: PositiveInt
    lr: PositiveFloat  # with `cosine` the peak: linear warmup over a twentieth of the updates, then decay to 0
    optimizer: Literal["adam", "sgd"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: PositiveFloat | None = 1.0  # maximum Euclidean norm of a gradient
    clip_value: PositiveFloat | None = None  # maximum absolute value of a component

    def rate(self, update: int) -> float:
        """The learning rate of an update; the first is number 1."""
        if self.schedule == "constant":
            return self.lr
        warmup = max(1, self.updates // 20)
        if update <= warmup:
            return self.lr * update / warmup
        return self.lr * (1 + math.cos(math.pi * (update - warmup) / (self.updates + 1 - warmup))) / 2

    def clip(self, parameters: Sequence[Tensor]) -> None:
        clip_gradients(parameters, self.clip_norm, self.clip_value)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's random numbers inside the block and restores their state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fit(
    model: nn.Module,
    loss: Callable[[], Tensor],
    recipe: Recipe,
    transform: Transform | None = None,
    callback: Callback | None = None,
) -> list[float]:
    """Trains a model in place and returns the loss of each update.

    Args:
        loss: draws the next batch and returns the model's loss on it, 0-dimensional.
        transform: of the gradients, in place of the recipe's clipping.
        callback: called after each update with its number and its loss (before the update); True ends the training.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.SGD
    optimizer: torch.optim.Optimizer = kind(parameters, lr=recipe.lr, fused=True)
    losses = []
    for update in range(1, recipe.updates + 1):
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        (transform or recipe.clip)(parameters)
        set_rate(optimizer, recipe.rate(update))
        optimizer.step()
        losses.append(value.item())
        if callback is not None and callback(update, losses[-1]):
            break
    return losses

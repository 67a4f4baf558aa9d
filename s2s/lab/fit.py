"""Training of toy models: the loop that the experiments share.

    g ← ∂loss/∂θ,   g ← limit(g),   θ ← θ - rate · g              (gradient descent; or Adam, Kingma & Ba 2015)

`limit` is what happens to a gradient before it is used: usually clipping, as `s2s.training` does it. Everything random
comes from a seed: the weights are drawn inside of `seeded`, batches from a generator of their own, so that models of
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

Limit = Callable[[Sequence[Tensor]], object]  # changes the gradients of these parameters in place
Watch = Callable[[int, float], bool | None]


@dataclass(frozen=True)
class Recipe:
    """How a toy model is trained.

    Attributes:
        updates: how many.
        lr: learning rate, with `cosine` its peak: it rises linearly during the first twentieth of the updates and then
            falls to 0 like a cosine.
        clip_norm: the longest gradient, as a Euclidean norm.
        clip_value: the largest component of a gradient.
    """

    updates: PositiveInt
    lr: PositiveFloat
    optimizer: Literal["adam", "sgd"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: PositiveFloat | None = 1.0
    clip_value: PositiveFloat | None = None

    def rate(self, update: int) -> float:
        """The learning rate of an update; the first is number 1."""
        if self.schedule == "constant":
            return self.lr
        warmup = max(1, self.updates // 20)
        if update <= warmup:
            return self.lr * update / warmup
        return self.lr * (1 + math.cos(math.pi * (update - warmup) / (self.updates + 1 - warmup))) / 2

    def clip(self, parameters: Sequence[Tensor]) -> None:
        """The recipe's own limit."""
        clip_gradients(parameters, self.clip_norm, self.clip_value)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's random numbers follow from the seed; outside, nothing changes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fit(
    model: nn.Module,
    loss: Callable[[], Tensor],
    recipe: Recipe,
    limit: Limit | None = None,
    watch: Watch | None = None,
) -> list[float]:
    """Trains a model in place.

    Args:
        loss: makes the next batch and returns the model's loss on it, 0-dimensional.
        limit: in place of the recipe's clipping.
        watch: is called after each update with its number and its loss (before the update); True ends the training.

    Returns:
        the loss of each update.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.SGD
    optimizer: torch.optim.Optimizer = kind(parameters, lr=recipe.lr, fused=True)
    losses = []
    for update in range(1, recipe.updates + 1):
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        (limit or recipe.clip)(parameters)
        set_rate(optimizer, recipe.rate(update))
        optimizer.step()
        losses.append(value.item())
        if watch is not None and watch(update, losses[-1]):
            break
    return losses

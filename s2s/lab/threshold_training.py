"""Trainings whose gradients are too large or too small, with thresholds and without; see `s2s.lab.clipping`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from s2s.lab.fit import Recipe, fit, seeded
from s2s.lab.tasks import TASKS, Reader
from s2s.lab.thresholds import flat_gradient, raise_components, raise_norm, small_step_descends
from s2s.lab.vanishing import with_radius
from s2s.nn.cells import RNN
from s2s.schema import PositiveFloat, PositiveInt, build

TASK = TASKS["first symbol"]
POINTS = 40  # of a curve
CLIPPED = {"none": "no clipping", "norm": "clipped by norm", "value": "clipped by value"}
FLOORED = {"none": "RNN, no floor", "norm": "RNN, norm raised", "value": "RNN, components raised", "lstm": "LSTM"}


@dataclass(frozen=True)
class Explosion:
    """A plain RNN whose gradients explode, trained by gradient descent."""

    radius: PositiveFloat  # spectral radius of W at the beginning
    delay: PositiveInt
    updates: PositiveInt
    lr: PositiveFloat
    clip_norm: PositiveFloat
    clip_value: PositiveFloat


@dataclass(frozen=True)
class Vanishing:
    """A plain RNN whose gradients vanish, and an LSTM, trained by gradient descent, clipped by norm."""

    radius: PositiveFloat
    delay: PositiveInt
    updates: PositiveInt
    lr: PositiveFloat
    clip_norm: PositiveFloat
    floor_norm: PositiveFloat
    floor_value: PositiveFloat


def all_clipped(seed: int, hidden: int, batch: int, explosion: Mapping[str, Any]) -> dict[str, Any]:
    """`clipped` in each way."""
    told = build(Explosion, explosion)
    return {way: clipped(way, seed, hidden, batch, told) for way in CLIPPED}


def clipped(way: str, seed: int, hidden: int, batch: int, told: Explosion) -> dict[str, Any]:
    """A training whose gradients explode, with one of the ways of CLIPPED.

    Returns:
        loss: [update, mean loss since the last row] rows; cut: share of updates whose gradient was changed; cosine:
        between such a gradient and what is left of it, the mean; descends: share of updates in which a small step
        against what is left lowers the loss of the same batch; lowered: share of updates that do so themselves;
        longest: the largest norm of a gradient.
    """
    by_norm, by_value = (told.clip_norm if way == "norm" else None), (told.clip_value if way == "value" else None)
    recipe = Recipe(told.updates, told.lr, "sgd", clip_norm=by_norm, clip_value=by_value)
    model = _start("rnn", seed, hidden, told.radius)
    generator = torch.Generator().manual_seed(seed)
    examples = TASK.draw(batch, told.delay, generator)
    norms, cosines, descends, lowered = list[float](), list[float](), list[bool](), list[bool]()

    def again() -> Tensor:
        x, wanted = examples
        return TASK.loss(model(x), wanted)

    def loss() -> Tensor:
        nonlocal examples
        examples = TASK.draw(batch, told.delay, generator)
        return again()

    def limit(parameters: Sequence[Tensor]) -> None:
        raw = flat_gradient(parameters)
        recipe.clip(parameters)
        norms.append(raw.norm().item())
        left = flat_gradient(parameters)
        if not left.equal(raw):
            cosines.append(torch.cosine_similarity(raw, left, dim=0).item())
        descends.append(small_step_descends(parameters, again, norms[-1]))

    def watch(update: int, value: float) -> None:
        with torch.no_grad():
            lowered.append(again().item() < value)

    losses = fit(model, loss, recipe, limit, watch)
    every = max(1, len(losses) // POINTS)
    ends = range(every, len(losses) + 1, every)
    return {
        "loss": [[end, statistics.fmean(losses[end - every : end])] for end in ends],
        "cut": len(cosines) / len(losses),
        "cosine": statistics.fmean(cosines or [1.0]),
        "descends": statistics.fmean(descends),
        "lowered": statistics.fmean(lowered),
        "longest": max(norms),
    }


def all_floored(seed: int, hidden: int, batch: int, examples: int, vanishing: Mapping[str, Any]) -> dict[str, Any]:
    """`floored` in each way."""
    told = build(Vanishing, vanishing)
    return {way: floored(way, seed, hidden, batch, examples, told) for way in FLOORED}


def floored(way: str, seed: int, hidden: int, batch: int, examples: int, told: Vanishing) -> dict[str, Any]:
    """A training over a long delay, with one of the ways of FLOORED.

    Returns:
        right: [update, share of right answers] rows; early, early_trained: the norm of the loss's derivative by the
        first symbol, relative to that by the last input, before and after training.
    """
    recipe = Recipe(told.updates, told.lr, "sgd", clip_norm=told.clip_norm)
    model = _start("lstm" if way == "lstm" else "rnn", seed, hidden, told.radius)
    training, later = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(1_000_000 + seed)
    test = TASK.draw(examples, told.delay, later)
    looked_at = TASK.draw(batch, told.delay, later)
    early = early_share(model, looked_at)

    def loss() -> Tensor:
        x, wanted = TASK.draw(batch, told.delay, training)
        return TASK.loss(model(x), wanted)

    def limit(parameters: Sequence[Tensor]) -> None:
        if way == "norm":
            raise_norm(parameters, told.floor_norm)
        if way == "value":
            raise_components(parameters, told.floor_value)
        recipe.clip(parameters)

    rows: list[list[float]] = [[0, TASK.accuracy(model, test)]]

    def watch(update: int, value: float) -> None:
        if update % max(1, told.updates // POINTS) == 0:
            rows.append([update, TASK.accuracy(model, test)])

    fit(model, loss, recipe, limit, watch)
    return {"right": rows, "early": early, "early_trained": early_share(model, looked_at)}


def early_share(model: Reader, examples: tuple[Tensor, Tensor]) -> float:
    """‖∂loss/∂x_1‖ / ‖∂loss/∂x_T‖."""
    x, wanted = examples
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(TASK.loss(model(x), wanted), x)
    return (gradient[:, 0].norm() / gradient[:, -1].norm()).item()  # type: ignore[no-any-return]


def _start(cell: str, seed: int, hidden: int, radius: float) -> Reader:
    """A new network; a plain one's W is scaled to this spectral radius."""
    with seeded(seed):
        model = Reader(cell, TASK.inputs, hidden, TASK.outputs)
    if isinstance(model.layer.cell, RNN):
        with torch.no_grad():
            model.layer.cell.weight_hh.copy_(with_radius(model.layer.cell.weight_hh, radius))
    return model

"""Trainings with exploding or vanishing gradients, with thresholds and without; see `s2s.lab.clipping`.

The thresholds work in place on the gradients of parameters: clipping (`s2s.training.optim.clip_gradients`), and floors,
its opposite.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from s2s.lab.fit import Recipe, fit, seeded
from s2s.lab.tasks import TASKS, SequenceModel, generators
from s2s.lab.vanishing import with_radius
from s2s.nn.cells import RNN
from s2s.schema import PositiveFloat, PositiveInt
from s2s.training.optim import global_norm

TASK = TASKS["first symbol"]
POINTS = 40  # of a curve
SMALL_STEP = 1e-3  # nats, see `small_step_descends`
EPSILON = 1e-30
CLIPPED = {"none": "no clipping", "norm": "clipped by norm", "value": "clipped by value"}
FLOORED = {"none": "RNN, no floor", "norm": "RNN, norm raised", "value": "RNN, components raised", "lstm": "LSTM"}


@dataclass(frozen=True)
class Explosion:
    """Training of a plain RNN with exploding gradients, by gradient descent."""

    radius: PositiveFloat  # initial spectral radius of W
    delay: PositiveInt
    updates: PositiveInt
    lr: PositiveFloat
    clip_norm: PositiveFloat
    clip_value: PositiveFloat


@dataclass(frozen=True)
class Vanishing:
    """Training of a plain RNN with vanishing gradients, and of an LSTM, by gradient descent, clipped by norm."""

    radius: PositiveFloat
    delay: PositiveInt
    updates: PositiveInt
    lr: PositiveFloat
    clip_norm: PositiveFloat
    floor_norm: PositiveFloat
    floor_value: PositiveFloat


def all_clipped(seed: int, hidden: int, batch: int, explosion: Explosion) -> dict[str, Any]:
    """Results of `clipped` by method."""
    return {method: clipped(method, seed, hidden, batch, explosion) for method in CLIPPED}


def clipped(method: str, seed: int, hidden: int, batch: int, settings: Explosion) -> dict[str, Any]:
    """A training with exploding gradients and one of the methods of CLIPPED.

    Returns:
        loss: rows [update, mean loss since the last row]; cut: share of updates with a clipped gradient; cosine: mean
        over these, between the raw and the clipped gradient; descends: share of updates in which a small step against
        the clipped gradient lowers the loss of the same batch; lowered: share of updates that lower it themselves;
        longest: largest norm of a gradient.
    """
    by_norm = settings.clip_norm if method == "norm" else None
    by_value = settings.clip_value if method == "value" else None
    recipe = Recipe(settings.updates, settings.lr, "sgd", clip_norm=by_norm, clip_value=by_value)
    model = _model("rnn", seed, hidden, settings.radius)
    generator = torch.Generator().manual_seed(seed)
    examples = TASK.sample(batch, settings.delay, generator)
    norms, cosines, descends, lowered = list[float](), list[float](), list[bool](), list[bool]()

    def loss_again() -> Tensor:
        return TASK.batch_loss(model, examples)

    def loss() -> Tensor:
        nonlocal examples
        examples = TASK.sample(batch, settings.delay, generator)
        return loss_again()

    def clip_and_record(parameters: Sequence[Tensor]) -> None:
        raw = parameters_to_vector(_gradients(parameters))
        recipe.clip(parameters)
        norms.append(raw.norm().item())
        clipped_gradient = parameters_to_vector(_gradients(parameters))
        if not clipped_gradient.equal(raw):
            cosines.append(torch.cosine_similarity(raw, clipped_gradient, dim=0).item())
        descends.append(small_step_descends(parameters, loss_again, norms[-1]))

    def record(update: int, value: float) -> None:
        with torch.no_grad():
            lowered.append(loss_again().item() < value)

    losses = fit(model, loss, recipe, clip_and_record, record)
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


def all_floored(seed: int, hidden: int, batch: int, examples: int, vanishing: Vanishing) -> dict[str, Any]:
    """Results of `floored` by method."""
    return {method: floored(method, seed, hidden, batch, examples, vanishing) for method in FLOORED}


def floored(method: str, seed: int, hidden: int, batch: int, examples: int, settings: Vanishing) -> dict[str, Any]:
    """A training over a long delay with one of the methods of FLOORED.

    Returns:
        right: rows [update, accuracy]; early, early_trained: `early_share` before and after training.
    """
    recipe = Recipe(settings.updates, settings.lr, "sgd", clip_norm=settings.clip_norm)
    model = _model("lstm" if method == "lstm" else "rnn", seed, hidden, settings.radius)
    training, later = generators(seed)
    test = TASK.sample(examples, settings.delay, later)
    probe = TASK.sample(batch, settings.delay, later)
    early = early_share(model, probe)

    def raise_and_clip(parameters: Sequence[Tensor]) -> None:
        if method == "norm":
            raise_norm(parameters, settings.floor_norm)
        if method == "value":
            raise_components(parameters, settings.floor_value)
        recipe.clip(parameters)

    rows: list[list[float]] = [[0, TASK.accuracy(model, test)]]

    def record(update: int, value: float) -> None:
        if update % max(1, settings.updates // POINTS) == 0:
            rows.append([update, TASK.accuracy(model, test)])

    def loss() -> Tensor:
        return TASK.batch_loss(model, TASK.sample(batch, settings.delay, training))

    fit(model, loss, recipe, raise_and_clip, record)
    return {"right": rows, "early": early, "early_trained": early_share(model, probe)}


def early_share(model: SequenceModel, examples: tuple[Tensor, Tensor]) -> float:
    """‖∂loss/∂x_1‖ / ‖∂loss/∂x_T‖."""
    x = examples[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(TASK.batch_loss(model, (x, examples[1])), x)
    return (gradient[:, 0].norm() / gradient[:, -1].norm()).item()  # type: ignore[no-any-return]


def _model(cell: str, seed: int, hidden: int, radius: float) -> SequenceModel:
    """A new network; a plain RNN's W is scaled to this spectral radius."""
    with seeded(seed):
        model = TASK.model(cell, hidden)
    if isinstance(model.layer.cell, RNN):
        with torch.no_grad():
            model.layer.cell.weight_hh.copy_(with_radius(model.layer.cell.weight_hh, radius))
    return model


def raise_norm(parameters: Sequence[Tensor], floor: float) -> None:
    """Scales a gradient with a smaller global norm up to this norm."""
    gradients = _gradients(parameters)
    torch._foreach_mul_(gradients, (floor / (global_norm(gradients) + EPSILON)).clamp(min=1.0))


def raise_components(parameters: Sequence[Tensor], floor: float) -> None:
    """Moves a component with a smaller absolute value to ± this value; 0 stays, since it has no sign."""
    for gradient in _gradients(parameters):
        gradient.copy_(gradient.sign() * gradient.abs().clamp(min=floor))


@torch.no_grad()
def small_step_descends(parameters: Sequence[Tensor], loss: Callable[[], Tensor], raw_norm: float) -> bool:
    """Whether a small step against the gradients lowers the loss; the parameters stay as they are.

    To first order, the step changes the loss by SMALL_STEP at most; `raw_norm` is that of the gradient before any
    threshold.
    """
    before, backup = loss().item(), [parameter.clone() for parameter in parameters]
    gradients = _gradients(parameters)
    length = SMALL_STEP / max(raw_norm, 1.0) / (global_norm(gradients).item() + EPSILON)
    torch._foreach_sub_(list(parameters), gradients, alpha=length)
    after = loss().item()
    torch._foreach_copy_(list(parameters), backup)
    return after < before


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]

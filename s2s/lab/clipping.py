"""A threshold for gradients: it cures those that are too large, and not those that are too small.

Clipping limits a gradient g by its norm, g · min(1, θ / ‖g‖), or each of its components, min(max(g_i, -θ), θ) (Pascanu
et al. 2013). The first keeps the direction. The second changes it, but as every component keeps its sign,
g · clipped(g) = Σ g_i clipped(g_i) > 0: a small enough step against it lowers the loss.

The same idea for small gradients would be a floor: what is below a threshold is raised to it, the whole gradient or
each component. Yet the gradient of a shared weight is a sum over all steps, Σ_t ∂loss/∂W_t, in which the early steps'
terms have vanished beside the late ones'. A floor makes the sum longer; the early terms stay as small a part of it.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from s2s.config import PositiveFloat, PositiveInt, build
from s2s.evaluation.report.canvas import SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Verdict
from s2s.lab.fit import Recipe, fit, seeded
from s2s.lab.look import axis_labels, line, looks, numbered, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, differences, mean_over_seeds
from s2s.lab.tasks import TASKS, Reader
from s2s.lab.thresholds import flat_gradient, raise_components, raise_norm, small_step_descends
from s2s.lab.vanishing import with_radius
from s2s.nn.cells import RNN

TASK = TASKS["first symbol"]
POINTS = 40  # of a curve
CURED = 10  # points behind the LSTM: a floor that leads the RNN so near to it would have cured it
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


@dataclass(frozen=True)
class Settings:
    hidden: PositiveInt
    batch: PositiveInt
    examples: PositiveInt  # of a test
    explosion: Explosion
    vanishing: Vanishing
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """What `clipped` and `floored` return: for each way a list over seeds."""
    sizes = {"hidden": settings.hidden, "batch": settings.batch}
    explosion, vanishing = dataclasses.asdict(settings.explosion), dataclasses.asdict(settings.vanishing)
    jobs: dict[str, partial[Any]] = {}
    for seed in settings.seeds:
        jobs[f"large gradients, seed {seed}"] = partial(all_clipped, seed, **sizes, explosion=explosion)
        jobs[f"small gradients, seed {seed}"] = partial(
            all_floored, seed, **sizes, examples=settings.examples, vanishing=vanishing
        )
    done = bench.each(jobs)

    def by_way(kind: str, ways: Mapping[str, str]) -> dict[str, list[Any]]:
        return {way: [done[f"{kind} gradients, seed {seed}"][way] for seed in settings.seeds] for way in ways}

    delay = settings.vanishing.delay
    return {"delay": delay, "clipped": by_way("large", CLIPPED), "floored": by_way("small", FLOORED)}


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
        right: [update, share of right answers] rows; early: the norm of the loss's derivative by the first symbol,
        relative to that by the last input, before training.
    """
    recipe = Recipe(told.updates, told.lr, "sgd", clip_norm=told.clip_norm)
    model = _start("lstm" if way == "lstm" else "rnn", seed, hidden, told.radius)
    training, later = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(1_000_000 + seed)
    test = TASK.draw(examples, told.delay, later)
    early = early_share(model, TASK.draw(batch, told.delay, later))

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
    return {"right": rows, "early": early}


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


# ---------------------------------------------------------------------------------------------- what follows from it


def _over_seeds(runs: list[dict[str, Any]], key: str, scale: float = 1.0) -> Mean:
    return mean_over_seeds([scale * _end(run[key]) for run in runs])


def _end(value: Any) -> float:
    """A number itself; of a curve its last value."""
    return float(value[-1][1] if isinstance(value, list) else value)


def find(numbers: Numbers) -> Findings:
    large, small, rows = numbers["clipped"], numbers["floored"], []
    for way, words in CLIPPED.items():
        runs = large[way]
        shares = [f"{_over_seeds(runs, key, 100).text(0)} %" for key in ("descends", "lowered")]
        rows.append([words, _over_seeds(runs, "loss").text(2), _over_seeds(runs, "cosine").text(2), *shares, ""])
    for way, words in FLOORED.items():
        rows.append([words, "", "", "", "", f"{_over_seeds(small[way], 'right', 100).text(0)} %"])
    loss = {way: _over_seeds(large[way], "loss").mean for way in CLIPPED}
    right = {way: _over_seeds(small[way], "right", 100).mean for way in FLOORED}
    early = {way: statistics.fmean(run["early"] for run in small[way]) for way in FLOORED}
    cut = {way: 100 * statistics.fmean(run["cut"] for run in large[way]) for way in ("norm", "value")}
    cosine = {way: _over_seeds(large[way], "cosine").mean for way in CLIPPED}
    sentences = [
        f"Without clipping, gradients of norm up to {max(run['longest'] for run in large['none']):.0f} throw the "
        f"weights about, and the loss ends at {loss['none']:.2f}; clipped by norm it ends at {loss['norm']:.2f}, by "
        f"value at {loss['value']:.2f}. Only {cut['norm']:.0f} % (norm) and {cut['value']:.0f} % (value) of the "
        "gradients had to be cut.",
        f"Clipping by norm keeps a gradient's direction (cosine {cosine['norm']:.2f}); clipping by value turns it "
        f"(cosine {cosine['value']:.2f} on average). Still downhill? A small step against what is left lowers the "
        f"loss of the batch in {_over_seeds(large['value'], 'descends', 100).mean:.0f} % of the updates.",
        f"Over a delay of {numbers['delay']} steps the RNN names the first symbol in {right['none']:.0f} % (chance is "
        f"{100 * TASK.chance:.1f} %), with a floor for the gradient's norm in {right['norm']:.0f} %, with one for its "
        f"components in {right['value']:.0f} %; an LSTM without a floor in {right['lstm']:.0f} %.",
        "At the beginning the loss depends on the first symbol "
        f"{early['none']:.1g} times as much as on the last one in the RNN ({early['lstm']:.1g} times in the LSTM). A "
        "floor makes the gradient longer, or its components larger; it does not change this ratio.",
    ]
    verdict, reason = _judge(numbers)
    columns = ["training", "loss at the end", "cosine", "small step descends", "update descends", "right answers"]
    return Findings(sentences, columns, rows, verdict, reason)


def _judge(numbers: Numbers) -> tuple[Verdict | None, str]:
    large, small = numbers["clipped"], numbers["floored"]
    if len(large["none"]) < SEEDS_FOR_A_VERDICT:
        return None, ""

    def each(runs: list[dict[str, Any]], key: str, scale: float = 1.0) -> list[float]:
        return [scale * _end(run[key]) for run in runs]

    gains = {way: differences(each(large["none"], "loss"), each(large[way], "loss")) for way in ("norm", "value")}
    down = _over_seeds(large["value"], "descends", 100)
    lstm = each(small["lstm"], "right", 100)
    gaps = {way: differences(lstm, each(small[way], "right", 100)) for way in ("norm", "value")}
    verdict = all_of(
        [*(above(gain) for gain in gains.values()), above(down, 90), *(above(gap, CURED) for gap in gaps.values())]
    )
    return verdict, (
        f"the loss ends lower by {gains['norm'].text(2)} (norm) and {gains['value'].text(2)} (value); a small step "
        f"clipped by value descends in {down.text(0)} %; with a floor the RNN stays {gaps['norm'].text(0)} (norm) and "
        f"{gaps['value'].text(0)} (components) points behind the LSTM"
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (large, small) = panels(["Too large: clipping", "Too small: a floor"], narrow)
    styles = {way: numbered(place) for place, way in zip((0, 4, 3), CLIPPED, strict=True)}
    for way, words in CLIPPED.items():
        _curve(large, [run["loss"] for run in numbers["clipped"][way]], styles[way], words)
    axis_labels(large, "update", "loss, nats")
    styles = {"none": numbered(0), "norm": numbered(2), "value": numbered(3), "lstm": looks()["lstm"]}
    chance = 100 * TASK.chance
    small.axhline(chance, color=SOFT, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
    small.annotate("chance", (1, chance), (0, -9), xycoords=("axes fraction", "data"), textcoords="offset points",
                   ha="right", va="top", fontsize=8.5, color=SOFT)  # fmt: skip
    for way, words in FLOORED.items():
        _curve(small, [run["right"] for run in numbers["floored"][way]], styles[way], words, 100)
    small.set_ylim(0, 104)
    axis_labels(small, "update", f"first symbol named, % (delay {numbers['delay']})")
    for axes in (large, small):
        axes.legend(frameon=False, fontsize=8.5, loc="best")
    return figure


def _curve(axes: Axes, runs: list[list[list[float]]], look: Any, label: str, scale: float = 1.0) -> None:
    """The mean over seeds."""
    means = [scale * statistics.fmean(row[1] for row in rows) for rows in zip(*runs, strict=True)]
    line(axes, [row[0] for row in runs[0]], means, look, label, marker="")


EXPERIMENT = Experiment(
    name="clipping",
    title="Clipping tames large gradients; no threshold revives small ones",
    claim="Exploding gradients can be clipped: values above a threshold θ are set to θ. That changes the direction of "
    "the gradient to some degree, but it still points to where the loss gets smaller. Vanishing gradients cannot be "
    "cured by a threshold in such a way.",
    chapter="chapter 2: LSTM",
    setup="Plain RNNs and gradient descent: name the first symbol of a sequence. Left: recurrent matrices of a "
    "spectral radius above 1, a short delay; gradients as they are, or clipped. Right: a radius below 1, a long delay; "
    "gradients below a threshold are raised to it, as a whole or each component. The LSTM has neither.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
)

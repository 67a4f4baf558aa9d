"""Thresholds for gradients: a remedy for exploding gradients, but not for vanishing ones.

Clipping limits a gradient g by its norm, g · min(1, θ / ‖g‖), or by component, min(max(g_i, -θ), θ) (Pascanu et al.
2013). The first keeps the direction. The second changes it, but as every component keeps its sign,
g · clipped(g) = Σ g_i clipped(g_i) > 0: a small enough step against it lowers the loss.

The counterpart for small gradients is a floor: a gradient, or a component, below a threshold is raised to it. Yet the
gradient of a shared weight is a sum over all steps, Σ_t ∂loss/∂W_t, in which the early terms have vanished beside the
late ones. A floor makes the sum longer; the share of the early terms stays as small.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.evaluation.report.palette import Style
from s2s.lab.experiment import Conclusion, Description, Findings, Numbers
from s2s.lab.plots import cell_style, line, note, panels, reference_line, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, Mean, above, all_of, below, differences, mean_over_seeds
from s2s.lab.threshold_training import CLIPPED, FLOORED, TASK, Explosion, Vanishing, all_clipped, all_floored
from s2s.schema import PositiveInt

CURED = 10  # points: an RNN with a floor that is less behind the LSTM counts as cured
LEARNT = 90  # %: below this accuracy the LSTM itself has not learnt the task
EARLY = ("early", "early_trained")


@dataclass(frozen=True)
class Settings:
    hidden: PositiveInt
    batch: PositiveInt
    examples: PositiveInt  # of a test
    explosion: Explosion
    vanishing: Vanishing
    seeds: list[int]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """The results of `clipped` and `floored`: for each method a list over seeds."""
    sizes = {"hidden": settings.hidden, "batch": settings.batch}
    jobs: dict[str, partial[Any]] = {
        "large gradients": partial(all_clipped, **sizes, explosion=settings.explosion),
        "small gradients": partial(all_floored, **sizes, examples=settings.examples, vanishing=settings.vanishing),
    }
    runs = runner.run_seeds(jobs, settings.seeds, lambda name, seed: partial(jobs[name], seed))
    return {
        "delay": settings.vanishing.delay,
        "clipped": {method: [run[method] for run in runs["large gradients"]] for method in CLIPPED},
        "floored": {method: [run[method] for run in runs["small gradients"]] for method in FLOORED},
    }


def _values(runs: Sequence[dict[str, Any]], key: str, scale: float = 1.0) -> list[float]:
    """A value of each run; of a curve its mean over the last quarter of the training."""
    values = []
    for run in runs:
        value = run[key]
        if isinstance(value, list):
            value = statistics.fmean(row[1] for row in value[-max(1, len(value) // 4) :])
        values.append(scale * float(value))
    return values


def _mean(runs: Sequence[dict[str, Any]], key: str, scale: float = 1.0) -> Mean:
    return mean_over_seeds(_values(runs, key, scale))


def analyse(numbers: Numbers) -> Findings:
    large, small, rows = numbers["clipped"], numbers["floored"], []
    for method, name in CLIPPED.items():
        shares = [_mean(large[method], key, 100).percent() for key in ("descends", "lowered")]
        cosine = _mean(large[method], "cosine").text(2) if method != "none" else ""
        rows.append([name, _mean(large[method], "loss").text(2), cosine, *shares, ""])
    for method, name in FLOORED.items():
        rows.append([name, "", "", "", "", _mean(small[method], "right", 100).percent()])
    loss = {method: _mean(large[method], "loss").mean for method in CLIPPED}
    right = {method: _mean(small[method], "right", 100).mean for method in FLOORED}
    early = {method: [statistics.fmean(run[key] for run in small[method]) for key in EARLY] for method in FLOORED}
    cut = {method: 100 * statistics.fmean(run["cut"] for run in large[method]) for method in ("norm", "value")}
    cosines = {method: _mean(large[method], "cosine").mean for method in CLIPPED}
    sentences = [
        f"Without clipping, gradients have norms up to {max(run['longest'] for run in large['none']):.0f}, and in the "
        f"last quarter of the training the loss is {loss['none']:.2f}; with clipping by norm it is {loss['norm']:.2f}, "
        f"by value {loss['value']:.2f}. {cut['norm']:.0f} % (norm) and {cut['value']:.0f} % (value) of the gradients "
        "were clipped.",
        f"Clipping by norm keeps a gradient's direction (cosine {cosines['norm']:.2f}); clipping by value changes it "
        f"(cosine {cosines['value']:.2f} on average). A small step against the value-clipped gradient still lowers the "
        f"loss of the batch in {_mean(large['value'], 'descends', 100).mean:.0f} % of the updates.",
        f"Over a delay of {numbers['delay']} steps the RNN names the first symbol in {right['none']:.0f} % (chance is "
        f"{100 * TASK.chance:.1f} %), with a floor for the gradient's norm in {right['norm']:.0f} %, with one for its "
        f"components in {right['value']:.0f} %; an LSTM without a floor in {right['lstm']:.0f} % (means over the last "
        "quarter of the training).",
        "Gradient of the loss at the first symbol relative to that at the last input, before and after training: "
        + "; ".join(f"{FLOORED[method]} {before:.1g} → {after:.1g}" for method, (before, after) in early.items())
        + ".",
    ]
    columns = ["training", "loss", "cosine", "small step descends", "update descends", "accuracy"]
    return Findings(sentences, columns, rows, *_conclusion(numbers))


def _conclusion(numbers: Numbers) -> tuple[Conclusion | None, str]:
    large, small = numbers["clipped"], numbers["floored"]
    if len(large["none"]) < MIN_SEEDS:
        return None, ""
    methods = ("norm", "value")
    gains = {method: differences(_values(large["none"], "loss"), _values(large[method], "loss")) for method in methods}
    cosine, descends = _mean(large["value"], "cosine"), _mean(large["value"], "descends", 100)
    lstm = _values(small["lstm"], "right", 100)
    gaps = {method: differences(lstm, _values(small[method], "right", 100)) for method in methods}
    clipping = all_of([*map(above, gains.values()), below(cosine, 1), above(descends, 90)])
    # An LSTM that has not learnt the task says nothing about floors.
    learnt = above(mean_over_seeds(lstm), LEARNT) == "supported"
    floor = all_of([above(gap, CURED) for gap in gaps.values()]) if learnt else "inconclusive"
    return all_of([clipping, floor]), (
        f"clipping: {clipping}, the loss of the last quarter is lower by {gains['norm'].text(2)} (norm) and "
        f"{gains['value'].text(2)} (value); a gradient clipped by value has a cosine of {cosine.text(2)} to the "
        f"original, and a small step against it descends in {descends.percent()}. No cure by a floor: {floor}, the "
        f"LSTM, without one, has an accuracy of {mean_over_seeds(lstm).percent()} (threshold {LEARNT}), and with one "
        f"the RNN stays {gaps['norm'].text(0)} (norm) and {gaps['value'].text(0)} (components) points behind it"
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (large, small) = panels(
        narrow,
        ("Too large: clipping", "update", "loss, nats"),
        ("Too small: a floor", "update", f"first symbol named, % (delay {numbers['delay']})"),
    )
    for number, (method, name) in zip((0, 4, 3), CLIPPED.items(), strict=True):
        _curve(large, [run["loss"] for run in numbers["clipped"][method]], series_style(number), name)
    chance = 100 * TASK.chance
    reference_line(small, chance)
    note(small, "chance", (1, chance), (0, -9), xycoords=("axes fraction", "data"), ha="right", va="top")
    styles = [*map(series_style, (0, 2, 3)), cell_style("lstm")]
    for style, (method, name) in zip(styles, FLOORED.items(), strict=True):
        _curve(small, [run["right"] for run in numbers["floored"][method]], style, name, 100)
    small.set_ylim(0, 104)
    for axes in (large, small):
        axes.legend(frameon=False, fontsize=8.5, loc="best")
    return figure


def _curve(axes: Axes, runs: list[list[list[float]]], style: Style, label: str, scale: float = 1.0) -> None:
    """The mean over seeds."""
    means = [scale * statistics.fmean(row[1] for row in rows) for rows in zip(*runs, strict=True)]
    line(axes, [row[0] for row in runs[0]], means, style, label)


DESCRIPTION = Description(
    title="What can a threshold do for gradients?",
    claim="Exploding gradients can be clipped: values above a threshold θ are set to θ. That changes the direction "
    "of the gradient to some degree, but it still points to where the loss gets smaller. Vanishing gradients cannot "
    "be cured by a threshold in such a way, because long-term dependencies make gradients small, too.",
    chapter="chapter 2: LSTM",
    setup="Plain RNNs trained by gradient descent to name the first symbol of a sequence. Left: recurrent matrices "
    "of a spectral radius above 1, a short delay; gradients without and with clipping. Right: a radius below 1, a "
    "long delay; gradients below a threshold are raised to it, as a whole or by component. The LSTM has neither. "
    "Loss and accuracy are means over the last quarter of the training; a floor counts as a cure if the RNN comes "
    f"within {CURED} points of an LSTM that has learnt the task.",
)

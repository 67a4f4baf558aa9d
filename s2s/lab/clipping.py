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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.evaluation.report.canvas import SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Verdict
from s2s.lab.look import axis_labels, line, looks, numbered, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, below, differences, mean_over_seeds
from s2s.lab.threshold_training import CLIPPED, FLOORED, TASK, Explosion, Vanishing, all_clipped, all_floored
from s2s.schema import PositiveInt

CURED = 10  # points behind the LSTM: a floor that leads the RNN so near to it would have cured it
LEARNT = 90  # % right: an LSTM below has itself not learnt what the floor is asked to bring about
EARLY = ("early", "early_trained")


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


# ---------------------------------------------------------------------------------------------- what follows from it


def _over_seeds(runs: list[dict[str, Any]], key: str, scale: float = 1.0) -> Mean:
    return mean_over_seeds([scale * _end(run[key]) for run in runs])


def _end(value: Any) -> float:
    """A number itself; of a curve its mean over the last quarter of the training."""
    if not isinstance(value, list):
        return float(value)
    return statistics.fmean(row[1] for row in value[-max(1, len(value) // 4) :])


def find(numbers: Numbers) -> Findings:
    large, small, rows = numbers["clipped"], numbers["floored"], []
    for way, words in CLIPPED.items():
        runs = large[way]
        shares = [_over_seeds(runs, key, 100).percent() for key in ("descends", "lowered")]
        turned = _over_seeds(runs, "cosine").text(2) if way != "none" else ""
        rows.append([words, _over_seeds(runs, "loss").text(2), turned, *shares, ""])
    for way, words in FLOORED.items():
        rows.append([words, "", "", "", "", _over_seeds(small[way], "right", 100).percent()])
    loss = {way: _over_seeds(large[way], "loss").mean for way in CLIPPED}
    right = {way: _over_seeds(small[way], "right", 100).mean for way in FLOORED}
    early = {way: [statistics.fmean(run[key] for run in small[way]) for key in EARLY] for way in FLOORED}
    cut = {way: 100 * statistics.fmean(run["cut"] for run in large[way]) for way in ("norm", "value")}
    cosine = {way: _over_seeds(large[way], "cosine").mean for way in CLIPPED}
    sentences = [
        f"Without clipping, gradients of norm up to {max(run['longest'] for run in large['none']):.0f} throw the "
        f"weights about, and in the last quarter of the training the loss is {loss['none']:.2f}; clipped by norm it is "
        f"{loss['norm']:.2f} there, by value {loss['value']:.2f}. {cut['norm']:.0f} % (norm) and "
        f"{cut['value']:.0f} % (value) of the gradients had to be cut.",
        f"Clipping by norm keeps a gradient's direction (cosine {cosine['norm']:.2f}); clipping by value turns it "
        f"(cosine {cosine['value']:.2f} on average). Still downhill? A small step against what is left lowers the "
        f"loss of the batch in {_over_seeds(large['value'], 'descends', 100).mean:.0f} % of the updates.",
        f"Over a delay of {numbers['delay']} steps the RNN names the first symbol in {right['none']:.0f} % (chance is "
        f"{100 * TASK.chance:.1f} %), with a floor for the gradient's norm in {right['norm']:.0f} %, with one for its "
        f"components in {right['value']:.0f} %; an LSTM without a floor in {right['lstm']:.0f} % (means over the last "
        "quarter of the training).",
        "How much the loss depends on the first symbol, where the last one is 1, before training and after it: "
        + "; ".join(f"{FLOORED[way]} {before:.1g} → {after:.1g}" for way, (before, after) in early.items())
        + ".",
    ]
    verdict, reason = _judge(numbers)
    columns = ["training", "loss", "cosine", "small step descends", "update descends", "right answers"]
    return Findings(sentences, columns, rows, verdict, reason)


def _judge(numbers: Numbers) -> tuple[Verdict | None, str]:
    large, small = numbers["clipped"], numbers["floored"]
    if len(large["none"]) < SEEDS_FOR_A_VERDICT:
        return None, ""

    def each(runs: list[dict[str, Any]], key: str, scale: float = 1.0) -> list[float]:
        return [scale * _end(run[key]) for run in runs]

    gains = {way: differences(each(large["none"], "loss"), each(large[way], "loss")) for way in ("norm", "value")}
    turned, down = _over_seeds(large["value"], "cosine"), _over_seeds(large["value"], "descends", 100)
    lstm = each(small["lstm"], "right", 100)
    gaps = {way: differences(lstm, each(small[way], "right", 100)) for way in ("norm", "value")}
    clipping = [*(above(gain) for gain in gains.values()), below(turned, 1), above(down, 90)]
    learnt = above(mean_over_seeds(lstm), LEARNT) == "supported"  # otherwise it says nothing about floors
    floor: list[Verdict] = [above(gap, CURED) for gap in gaps.values()] if learnt else ["not decided"]
    return all_of([*clipping, *floor]), (
        f"clipping: {all_of(clipping)}, the loss of the last quarter is lower by {gains['norm'].text(2)} (norm) and "
        f"{gains['value'].text(2)} (value); what is left by value has a cosine of {turned.text(2)} to the gradient, "
        f"and a small step against it descends in {down.percent()}. No cure by a floor: {all_of(floor)}, the LSTM, "
        f"without one, is right in {mean_over_seeds(lstm).percent()}, of which {LEARNT} are asked, and with one the "
        f"RNN stays {gaps['norm'].text(0)} (norm) and {gaps['value'].text(0)} (components) points behind it"
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
    line(axes, [row[0] for row in runs[0]], means, look, label)


EXPERIMENT = Experiment(
    name="clipping",
    title="What can a threshold do for gradients?",
    claim="Exploding gradients can be clipped: values above a threshold θ are set to θ. That changes the direction of "
    "the gradient to some degree, but it still points to where the loss gets smaller. Vanishing gradients cannot be "
    "cured by a threshold in such a way, because long-term dependencies make gradients small, too.",
    chapter="chapter 2: LSTM",
    setup="Plain RNNs and gradient descent: name the first symbol of a sequence. Left: recurrent matrices of a "
    "spectral radius above 1, a short delay; gradients as they are, or clipped. Right: a radius below 1, a long delay; "
    "gradients below a threshold are raised to it, as a whole or each component. The LSTM has neither. Loss and right "
    "answers are means over the last quarter of the training; a floor would have cured what came within "
    f"{CURED} points of an LSTM that has learnt the task.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
)

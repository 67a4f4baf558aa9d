"""Growth of cost with length: a picture, a few sentences, and the table of the report page.

Both axes of the picture are logarithmic, so a power of the length is a straight line; the dotted line has the slope of
linear growth. There is a column for each batch size and a row with a common scale for each measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from s2s.evaluation.report.canvas import DPI, INK, PAPER, SOFT, annotate, drawing, save, spread_labels, style_axes
from s2s.evaluation.report.palette import FAMILY_NAMES, Style, styles
from s2s.evaluation.report.picture import line_style
from s2s.evaluation.report.prose import join_list
from s2s.evaluation.scaling import TASK_NAMES, Cost, Scaling, Task, exponents


@dataclass(frozen=True)
class _Measure:
    """A row of the picture."""

    title: str
    task: Task
    value: Callable[[Cost], float | None]
    tick: Callable[[float], str]  # label of a value on the axis


def _duration(seconds: float) -> str:
    scale, unit = (1, "s") if seconds >= 1 else (1000, "ms") if seconds >= 1e-3 else (1e6, "µs")
    return f"{scale * seconds:g} {unit}"


def _size(mebibytes: float) -> str:
    return f"{mebibytes:,.0f} MiB" if mebibytes >= 1 else f"{1024 * mebibytes:,.0f} KiB"


_MEASURES = (
    _Measure("training: time of an update", "train", lambda cost: cost.seconds, _duration),
    _Measure(
        "decoding: time for each sentence",
        "decode",
        lambda cost: None if cost.seconds is None else cost.seconds / cost.batch,
        _duration,
    ),
    _Measure("training: peak memory", "train", lambda cost: cost.memory, _size),
)


def scaling_picture(scaling: Scaling, path: Path, title: str = "Cost by sentence length") -> None:
    """Writes time of training and decoding, and memory, by length; PNG or SVG by the extension.

    Raises:
        S2SError: the file cannot be written.
    """
    with drawing():
        save(draw_scaling(scaling, title), path)


def draw_scaling(
    scaling: Scaling, title: str = "", narrow: bool = False, looks: Mapping[str, Style] | None = None
) -> Figure:
    """Returns the figure of `scaling_picture`.

    Args:
        narrow: for a phone: one panel below the other, without labels at the lines.
        looks: styles of the models on the page; None for a picture of its own.
    """
    families = scaling.models
    looks = looks or dict(zip(families, styles(list(families.values())), strict=True))
    rows = [(measure, lines) for measure in _MEASURES if (lines := _lines(scaling, measure))]
    batches = [batch for batch in scaling.batches if any(batch in lines for _, lines in rows)]
    panels = [(measure, lines, batch) for measure, lines in rows for batch in batches]
    columns = 1 if narrow else len(batches)
    high = len(panels) // columns
    size = (4.3, 0.4 + 2.1 * high) if narrow else (max(5.2, 1.9 + 2.6 * columns), 0.8 * bool(title) + 0.3 + 2.2 * high)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=PAPER)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13, color=INK)
        figure.supxlabel("dotted: linear growth", x=0.01, ha="left", fontsize=8.5, color=SOFT)
    for number, (measure, lines, batch) in enumerate(panels):
        axes = figure.add_subplot(high, columns, number + 1)
        style_axes(axes)
        if narrow:
            axes.set_title(f"{measure.title}, {_sentences(batch)}", loc="left", fontsize=9.5, color=INK)
        elif number < columns:
            axes.set_title(
                f"batch of {_sentences(batch)}", loc="left", fontsize=9.5, fontweight="bold", color=INK, pad=22
            )
        for model, points in lines.get(batch, {}).items():
            axes.plot(*zip(*points, strict=True), **{**line_style(looks[model]), "markersize": 5.0}, zorder=3)
        values = [value for one in lines.values() for points in one.values() for _, value in points]
        _scales(axes, scaling.lengths, values, measure.tick)
        first, last = number % columns == 0, number % columns == columns - 1
        if not first:
            axes.tick_params(labelleft=False)
        elif not narrow:
            annotate(axes, measure.title, (0, 1), (0, 7), xycoords="axes fraction", fontsize=9.5)
        if number >= len(panels) - columns:
            axes.set_xlabel("tokens", color=SOFT)
        if last and not narrow:
            _label(axes, lines.get(batch, {}), looks, families)
    return figure


Points = list[tuple[int, float]]


def _lines(scaling: Scaling, measure: _Measure) -> dict[int, dict[str, Points]]:
    """The measured points (length, value) of each model, by batch."""
    lines: dict[int, dict[str, Points]] = {}
    for batch in scaling.batches:
        for model in scaling.models:
            costs = scaling.of(measure.task, batch, model).items()
            points = [(length, value) for length, cost in costs if (value := measure.value(cost))]
            if points:
                lines.setdefault(batch, {})[model] = points
    return lines


def _scales(axes: Axes, lengths: Sequence[int], values: Sequence[float], tick: Callable[[float], str]) -> None:
    """Sets logarithmic axes around all values of a row, with the measured lengths and round numbers as ticks."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    left, right = lengths[0] / 1.25, lengths[-1] * 1.25
    bottom, top = min(values) / 1.35, max(values) * 1.35
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    decades = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    span = math.log10(top / bottom)
    digits = (1,) if span > 3.2 else (1, 3) if span > 1.3 else (1, 2, 5)
    room = 0.09 * math.log(right / left)  # for the number of a tick beside the one before it
    shown = [lengths[0], *(length for before, length in pairwise(lengths) if math.log(length / before) > room)]
    for axis, ticks, text in (
        (axes.xaxis, shown, lambda value: f"{value:g}"),
        (axes.yaxis, [digit * 10.0**decade for decade in decades for digit in digits], tick),
    ):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _, text=text: text(value)))
        axis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=8.5)
    for power in range(math.floor(math.log10(bottom / right)), math.ceil(math.log10(top / left)) + 1):
        ends = [left * 10.0**power, right * 10.0**power]
        axes.plot([left, right], ends, ":", color=SOFT, linewidth=0.8, alpha=0.6, zorder=1)


def _label(axes: Axes, lines: dict[str, Points], looks: Mapping[str, Style], families: dict[str, str]) -> None:
    """Writes the names at the right edge, joined to the ends of their lines, moved apart where they would overlap."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    left, right = (math.log(limit) for limit in axes.get_xlim())
    ends = {
        model: ((math.log(points[-1][0]) - left) / (right - left), (math.log(points[-1][1]) - low) / (high - low))
        for model, points in lines.items()
    }
    # A model without a line in this panel has one further left and is named here, too.
    order = sorted(families, key=lambda model: -ends[model][1] if model in ends else math.inf)
    step = min(0.22, 1 / len(order))
    heights = spread_labels([ends[model][1] if model in ends else 0.0 for model in order], step, 0.06)
    for model, height in zip(order, heights, strict=True):
        if model in ends:
            x, y = ends[model]
            leader: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.55, "clip_on": False, "transform": axes.transAxes}
            axes.plot([x, 1.0, 1.05], [y, y, height], color=looks[model].light, **leader)
        place, style = (1.07, height), {"xycoords": "axes fraction", "va": "bottom", "fontsize": 9.5}
        annotate(axes, f"{model} ", place, (0, 1), **style, color=looks[model].text, fontweight="bold")
        if len(order) < 5:  # more leave no room for a second line
            family = f"{FAMILY_NAMES[families[model]]} "
            annotate(axes, family, place, (0, -1), **{**style, "va": "top", "fontsize": 8})


def growth_sentences(scaling: Scaling) -> list[str]:
    """Returns sentences on the growth of training time, the time per further token, and the growth of decoding time."""
    sentences = []
    for task, start in (("train", "a training update on {} takes"), ("decode", "decoding {} takes")):
        spans = {batch: lengths for batch in scaling.batches if len(lengths := scaling.common_lengths(task, batch)) > 1}
        if not spans:
            continue
        batch = max(spans, key=lambda batch: (spans[batch][-1] / spans[batch][0], batch))
        short, long = spans[batch][0], spans[batch][-1]
        first, last = (scaling.seconds(task, batch, length) for length in (short, long))
        times = [f"{model} {last[model] / first[model]:.1f}" for model in scaling.models]
        opening = f"From {short} to {long} tokens, {long / short:.3g} times as many,"
        sentences.append(f"{opening} {start.format(_sentences(batch))} {join_list(times)} times as long.")
        if task == "train":  # the smallest batch shows the time per token best
            batch = min(spans)
            short, long = spans[batch][0], spans[batch][-1]
            first, last = (scaling.seconds(task, batch, length) for length in (short, long))
            slopes = {model: (last[model] - first[model]) / (long - short) for model in scaling.models}
            adds = [f"{_milliseconds(slope)} with {model}" for model, slope in slopes.items()]
            opening = f"On {_sentences(batch)}, each further token adds to the time of an update"
            sentences.append(f"{opening} {join_list(adds)} (mean from {short} to {long} tokens).")
    return sentences


def _sentences(batch: int) -> str:
    return f"{batch:,} sentence{'s' if batch > 1 else ''}"


def _milliseconds(seconds: float) -> str:
    digits = 3 if abs(seconds) < 1e-3 else 2 if abs(seconds) < 1e-2 else 1
    return f"{1000 * seconds:,.{digits}f} ms".replace("-", "−")


@dataclass(frozen=True)
class Cell:
    """Cost in the page's table."""

    time: str
    exponent: str  # of its growth since the length before
    memory: str


@dataclass(frozen=True)
class Block:
    """Part of the table for one task and batch size: a row for each model, a column for each length."""

    title: str
    rows: list[tuple[str, list[Cell]]]


def blocks(scaling: Scaling) -> list[Block]:
    """Returns the table of the page; a setting left out is empty, one that could not be measured is n/a."""
    table = []
    for task, name in TASK_NAMES.items():
        for batch in scaling.batches:
            rows = []
            for model in scaling.models:
                costs = scaling.of(task, batch, model)
                growth = exponents(costs)
                rows.append((model, [_cell(costs.get(length), growth.get(length)) for length in scaling.lengths]))
            table.append(Block(f"{name}, {_sentences(batch)}", rows))
    return table


def _cell(cost: Cost | None, exponent: float | None) -> Cell:
    if cost is None:
        return Cell("", "", "")
    return Cell(
        "n/a" if cost.seconds is None else _milliseconds(cost.seconds),
        "" if exponent is None else f"{exponent:.2f}".replace("-", "−"),
        "" if cost.memory is None else f"{cost.memory:,.0f} MiB",
    )


def conditions(scaling: Scaling) -> str:
    """Returns the conditions of the measurement, a sentence."""
    machine, settings = scaling.machine, scaling.config["scaling"]
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    place = machine["device"] if machine["device"] != "cpu" else f"{machine['processor']}, {threads}"
    search = "greedy" if settings["beam"] == 1 else f"beam {settings['beam']}"
    return (
        f"{place}, torch {machine['torch']}, {settings['precision']}: medians on random tokens of a vocabulary of "
        f"{settings['vocabulary']:,}, source and target equally long; decoding is {search}."
    )

"""How cost grows with length, for people: a picture, a few sentences, and the table of the report page.

Both axes of the picture are logarithmic, so that a power of the length is a straight line; the dotted one has the slope
of a cost in proportion to the length. A column for each number of sentences in the batch, a row for each cost, with one
scale throughout the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from s2s.evaluation.report.canvas import DPI, INK, PAPER, SOFT, drawing, ground, save
from s2s.evaluation.report.palette import FAMILY_WORDS, Style, styles
from s2s.evaluation.report.picture import line_style
from s2s.evaluation.report.prose import listed
from s2s.evaluation.scaling import WORDS, Cost, Scaling, Task, exponents


@dataclass(frozen=True)
class _Measure:
    """A row of the picture."""

    title: str
    task: Task
    value: Callable[[Cost], float | None]
    words: Callable[[float], str]  # of a number on the axis


def _duration(seconds: float) -> str:
    return (
        f"{seconds:g} s" if seconds >= 1 else f"{1000 * seconds:g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:g} µs"
    )


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


def scaling_picture(scaling: Scaling, path: Path, title: str = "How cost grows with length") -> None:
    """Time of training and decoding, and memory, by length; PNG or SVG by the extension.

    Raises:
        S2SError: the file cannot be written.
    """
    with drawing():
        save(draw_scaling(scaling, title), path)


def draw_scaling(
    scaling: Scaling, title: str = "", narrow: bool = False, looks: Mapping[str, Style] | None = None
) -> Figure:
    """The figure of `scaling_picture`.

    Args:
        narrow: for a phone: one panel below the other, no labels at the lines.
        looks: of the models, where they have some already; None for a picture that stands alone.
    """
    families = scaling.models
    looks = looks or dict(zip(families, styles(list(families.values())), strict=True))
    drawn = [_lines(scaling, measure) for measure in _MEASURES]
    rows = [(measure, lines) for measure, lines in zip(_MEASURES, drawn, strict=True) if lines]
    batches = [batch for batch in scaling.batches if any(batch in lines for _, lines in rows)]
    panels = [(measure, lines, batch) for measure, lines in rows for batch in batches]
    columns = 1 if narrow else len(batches)
    high = len(panels) // columns
    size = (4.3, 0.4 + 2.1 * high) if narrow else (max(5.2, 1.9 + 2.6 * columns), 0.8 * bool(title) + 0.3 + 2.2 * high)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=PAPER)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13, color=INK)
        figure.supxlabel("dotted: in proportion to the length", x=0.01, ha="left", fontsize=8.5, color=SOFT)
    for number, (measure, lines, batch) in enumerate(panels):
        axes = figure.add_subplot(high, columns, number + 1)
        ground(axes)
        if narrow:
            axes.set_title(f"{measure.title}, {_sentences(batch)}", loc="left", fontsize=9.5, color=INK)
        elif number < columns:
            axes.set_title(
                f"batch of {_sentences(batch)}", loc="left", fontsize=9.5, fontweight="bold", color=INK, pad=22
            )
        _draw(axes, lines.get(batch, {}), looks)
        values = [value for one in lines.values() for points in one.values() for _, value in points]
        _scales(axes, scaling.lengths, values, measure.words)
        first, last = number % columns == 0, number % columns == columns - 1
        if not first:
            axes.tick_params(labelleft=False)
        elif not narrow:
            axes.annotate(
                measure.title,
                (0, 1),
                xycoords="axes fraction",
                xytext=(0, 7),
                textcoords="offset points",
                fontsize=9.5,
                color=SOFT,
                annotation_clip=False,
            )
        if number >= len(panels) - columns:
            axes.set_xlabel("tokens", color=SOFT)
        if last and not narrow:
            _label(axes, lines.get(batch, {}), looks, families)
    return figure


Points = list[tuple[int, float]]


def _lines(scaling: Scaling, measure: _Measure) -> dict[int, dict[str, Points]]:
    """(length, value) of each model, by batch; without what was not measured."""
    found: dict[int, dict[str, Points]] = {}
    for batch in scaling.batches:
        for model in scaling.models:
            costs = scaling.of(measure.task, batch, model).items()
            points = [(length, value) for length, cost in costs if (value := measure.value(cost))]
            if points:
                found.setdefault(batch, {})[model] = points
    return found


def _draw(axes: Axes, lines: dict[str, Points], looks: Mapping[str, Style]) -> None:
    for model, points in lines.items():
        axes.plot(*zip(*points, strict=True), **{**line_style(looks[model]), "markersize": 5.0}, zorder=3)


def _scales(axes: Axes, lengths: Sequence[int], values: Sequence[float], words: Callable[[float], str]) -> None:
    """Logarithmic axes around all values of a row, with the lengths that were measured and round numbers as ticks."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    left, right = lengths[0] / 1.25, lengths[-1] * 1.25
    bottom, top = min(values) / 1.35, max(values) * 1.35
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    decades = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    span = math.log10(top / bottom)
    digits = (1,) if span > 3.2 else (1, 3) if span > 1.3 else (1, 2, 5)
    shown = [length for n, length in enumerate(lengths) if not n or _apart(lengths, n, right / left)]
    for axis, ticks, text in (
        (axes.xaxis, shown, lambda value: f"{value:g}"),
        (axes.yaxis, [digit * 10.0**decade for decade in decades for digit in digits], words),
    ):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _, text=text: text(value)))
        axis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=8.5)
    for power in range(math.floor(math.log10(bottom / right)), math.ceil(math.log10(top / left)) + 1):
        ends = [left * 10.0**power, right * 10.0**power]
        axes.plot([left, right], ends, ":", color=SOFT, linewidth=0.8, alpha=0.6, zorder=1)


def _apart(lengths: Sequence[int], number: int, span: float) -> bool:
    """Whether a tick has room for its number; the one before it may have none then."""
    return math.log(lengths[number] / lengths[number - 1]) > 0.09 * math.log(span)


def _label(axes: Axes, lines: dict[str, Points], looks: Mapping[str, Style], families: dict[str, str]) -> None:
    """Names at the right edge, joined to the ends of their lines, moved apart where they would overlap."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    left, right = (math.log(limit) for limit in axes.get_xlim())
    ends = {
        model: ((math.log(points[-1][0]) - left) / (right - left), (math.log(points[-1][1]) - low) / (high - low))
        for model, points in lines.items()
    }
    # One that has no line here has one further left, and its name here all the same.
    order = sorted(families, key=lambda model: -ends[model][1] if model in ends else math.inf)
    step = min(0.22, 1 / len(order))
    places = [ends[model][1] if model in ends else 0.0 for model in order]
    for number in range(1, len(places)):
        places[number] = min(places[number], places[number - 1] - step)
    lift = max(0.0, 0.06 - places[-1])
    if lift:
        places[-1] = 0.06
        for number in range(len(places) - 2, -1, -1):
            places[number] = max(places[number], places[number + 1] + step)
    for model, place in zip(order, places, strict=True):
        if model in ends:
            x, y = ends[model]
            leader: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.55, "clip_on": False, "transform": axes.transAxes}
            axes.plot([x, 1.0, 1.05], [y, y, place], color=looks[model].light, **leader)
        _beside(axes, f"{model} ", place, 1, color=looks[model].text, fontsize=9.5, fontweight="bold", va="bottom")
        if len(order) < 5:  # more have no room for a second line
            _beside(axes, f"{FAMILY_WORDS[families[model]]} ", place, -1, color=SOFT, fontsize=8, va="top")


def _beside(axes: Axes, text: str, place: float, points: float, **look: Any) -> None:
    at: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    axes.annotate(text, (1.07, place), xytext=(0, points), **at, **look)


def sentences(scaling: Scaling) -> list[str]:
    """What the numbers say, whatever they are: growth of training, the wait for each token, growth of decoding."""
    found = []
    for task, start in (("train", "a training update on {} takes"), ("decode", "decoding {} takes")):
        spans = {batch: lengths for batch in scaling.batches if len(lengths := scaling.measured(task, batch)) > 1}
        if not spans:
            continue
        batch = max(spans, key=lambda batch: (spans[batch][-1] / spans[batch][0], batch))
        short, long = spans[batch][0], spans[batch][-1]
        ends = _ends(scaling, task, batch, short, long)
        times = [f"{model} {last / first:.1f}" for model, (first, last) in ends.items()]
        opening = f"From {short} to {long} tokens, {long / short:.3g} times as many,"
        found.append(f"{opening} {start.format(_sentences(batch))} {listed(times)} times as long.")
        if task == "train":  # where the fewest sentences hide the wait least
            batch = min(spans)
            short, long = spans[batch][0], spans[batch][-1]
            ends = _ends(scaling, task, batch, short, long)
            adds = [f"{_milliseconds((b - a) / (long - short))} with {model}" for model, (a, b) in ends.items()]
            opening = f"On {_sentences(batch)}, each further token adds to the time of an update"
            found.append(f"{opening} {listed(adds)} (mean from {short} to {long} tokens).")
    return found


def _ends(scaling: Scaling, task: str, batch: int, short: int, long: int) -> dict[str, tuple[float, float]]:
    """Seconds of each model at two lengths."""
    found = {}
    for model in scaling.models:
        costs = scaling.of(task, batch, model)
        first, last = costs[short].seconds, costs[long].seconds
        assert first is not None  # both are among `measured`
        assert last is not None
        found[model] = (first, last)
    return found


def _sentences(batch: int) -> str:
    return f"{batch:,} sentence{'s' if batch > 1 else ''}"


def _milliseconds(seconds: float) -> str:
    digits = 3 if abs(seconds) < 1e-3 else 2 if abs(seconds) < 1e-2 else 1
    return f"{1000 * seconds:,.{digits}f} ms".replace("-", "−")


@dataclass(frozen=True)
class Cell:
    """A cost in the page's table."""

    time: str
    exponent: str  # of its growth since the length before
    memory: str


@dataclass(frozen=True)
class Block:
    """One kind of work on one batch: a row of cells for each model, a column for each length."""

    title: str
    rows: list[tuple[str, list[Cell]]]


def blocks(scaling: Scaling) -> list[Block]:
    """The table of the page; a setting that was left out is empty, one that could not be measured n/a."""
    found = []
    for task, words in WORDS.items():
        for batch in scaling.batches:
            rows = []
            for model in scaling.models:
                costs = scaling.of(task, batch, model)
                grown = dict(zip(costs, exponents(list(costs.values())), strict=True))
                cells = [_cell(costs.get(length), grown.get(length)) for length in scaling.lengths]
                rows.append((model, cells))
            found.append(Block(f"{words}, {_sentences(batch)}", rows))
    return found


def _cell(cost: Cost | None, exponent: float | None) -> Cell:
    if cost is None:
        return Cell("", "", "")
    return Cell(
        "n/a" if cost.seconds is None else _milliseconds(cost.seconds),
        "" if exponent is None else f"{exponent:.2f}".replace("-", "−"),
        "" if cost.memory is None else f"{cost.memory:,.0f} MiB",
    )


def how(scaling: Scaling) -> str:
    """What a reader has to know of the measurement, a sentence."""
    machine, settings = scaling.machine, scaling.config["scaling"]
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    place = machine["device"] if machine["device"] != "cpu" else f"{machine['processor']}, {threads}"
    search = "greedy" if settings["beam"] == 1 else f"beam {settings['beam']}"
    return (
        f"{place}, torch {machine['torch']}, {settings['precision']}: medians on random tokens of a vocabulary of "
        f"{settings['vocabulary']:,}, source and target equally long; decoding is {search}."
    )

"""Plots of the lab: panels side by side on the report's canvas, with one colour for each cell on the whole page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from s2s.evaluation.report.canvas import DPI, PAPER, SOFT, style_axes
from s2s.evaluation.report.palette import Style, styles
from s2s.evaluation.report.picture import marker_step
from s2s.lab.statistics import Mean, mean_over_seeds

# The order fixes the colours: `palette` draws some families warm and dashed, others cool and solid.
CELLS = ["rnn", "lstm", "gru", "mgu", "sru", "transformer"]
FAMILIES = ["fixed", "attention", "attention", "fixed", "self-attention", "self-attention", "attention", "fixed"]
WIDE, NARROW = 9.6, 4.3  # inches
DOTTED = (0, (1, 2))


def cell_style(cell: str) -> Style:
    """The style of a cell, or of the Transformer."""
    return series_style(CELLS.index(cell))


def series_style(number: int) -> Style:
    """The style of series number n of a plot whose series are not cells."""
    return styles(FAMILIES)[number % len(FAMILIES)]


def panels(narrow: bool, *labels: tuple[str, str, str], height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, x label and y label, side by side, or below each other if narrow.

    `height` is that of a panel, in inches.
    """
    count = len(labels)
    rows, columns = (count, 1) if narrow else (1, count)
    size = (NARROW, height * count) if narrow else (WIDE, height)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=PAPER)
    for number, (title, x, y) in enumerate(labels, 1):
        axes = figure.add_subplot(rows, columns, number)
        style_axes(axes)
        axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=10)
        axes.set_xlabel(x, color=SOFT)
        axes.set_ylabel(y, color=SOFT)
    return figure, figure.axes


def line(axes: Axes, x: Sequence[float], y: Sequence[float], style: Style, label: str, **options: Any) -> None:
    """A series."""
    defaults: dict[str, Any] = {
        "color": style.light,
        "linewidth": 1.8,
        "linestyle": (0, style.dash) if style.dash else "-",
        "marker": style.marker,
        "markevery": marker_step(x),
        "markersize": 5.5,
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.8,
        "label": label,
        "zorder": 3,
    }
    axes.plot(x, y, **(defaults | options))


def mean_line(axes: Axes, x: Sequence[float], means: Sequence[Mean], style: Style, label: str, **options: Any) -> None:
    """A series of means with their intervals."""
    line(axes, x, [mean.mean for mean in means], style, label, **options)
    for position, mean in zip(x, means, strict=True):
        _interval(axes, position, mean, style, 1.2)


def points(axes: Axes, names: Sequence[str], seeds: Sequence[Sequence[float]], series: Sequence[Style]) -> None:
    """A column for each name: the mean of its seeds with its interval, and each seed as a faint dot."""
    for position, (values, style) in enumerate(zip(seeds, series, strict=True)):
        mean, color = mean_over_seeds(values), style.light
        if len(values) > 1:
            _interval(axes, position, mean, style, 1.6)
            offset = [position + 0.16] * len(values)
            axes.plot(offset, values, color=color, linestyle="", marker=".", markersize=5, alpha=0.6, zorder=2)
        dot: dict[str, Any] = {"marker": style.marker, "markersize": 8, "markeredgecolor": PAPER}
        axes.plot([position], [mean.mean], color=color, linestyle="", zorder=3, markeredgewidth=0.8, **dot)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)), names)


def _interval(axes: Axes, x: float, mean: Mean, style: Style, width: float) -> None:
    if math.isfinite(mean.low):
        axes.plot([x, x], [mean.low, mean.high], color=style.light, linewidth=width, alpha=0.65, zorder=2)


def reference_line(axes: Axes, y: float, color: str = SOFT, width: float = 1.0) -> None:
    """A dotted horizontal line."""
    axes.axhline(y, color=color, linewidth=width, linestyle=DOTTED, zorder=1)


def note(axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **options: Any) -> None:
    """A small text at an offset, in points, from a position."""
    options = {"fontsize": 8.5, "color": SOFT, "textcoords": "offset points", **options}
    axes.annotate(text, at, offset, **options)


def log_scale(axes: Axes) -> None:
    """Makes the y axis logarithmic, with powers of ten written out: the canvas does not parse mathematics."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _power_of_ten(value: float, _: object) -> str:
    exponent = round(math.log10(value))
    if -3 < exponent < 4:
        return f"{value:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def log_ticks(axes: Axes, values: Sequence[float], base: int = 2) -> None:
    """Makes the x axis logarithmic, with ticks at these values alone."""
    axes.set_xscale("log", base=base)
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()


def legend(figure: Figure, panel: int = 0) -> Figure:
    """Adds one legend for all panels below them, with the lines of this panel; returns the figure."""
    lines, names = figure.axes[panel].get_legend_handles_labels()
    columns = 2 if figure.get_figwidth() < 5 else min(len(names), 6)
    figure.legend(lines, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6, fontsize=9)
    return figure

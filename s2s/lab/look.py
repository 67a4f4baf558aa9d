"""How the lab's pictures look: the report's canvas, one colour for each cell on the whole page, panels side by side."""

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
from s2s.lab.statistics import mean_over_seeds

# The order fixes the colours: warm and dashed, or cool and solid, as `palette` has them.
ORDER = ["rnn", "lstm", "gru", "mgu", "sru", "transformer", "seventh", "eighth"]
FAMILIES = ["fixed", "attention", "attention", "fixed", "self-attention", "self-attention", "attention", "fixed"]
WIDE, NARROW = 9.6, 4.3  # inches


def looks() -> dict[str, Style]:
    """The style of each cell; what is no cell takes one by its place (`numbered`)."""
    return dict(zip(ORDER, styles(FAMILIES), strict=True))


def numbered(position: int) -> Style:
    """The style at a place of the order, for series that are not cells."""
    return styles(FAMILIES)[position % len(FAMILIES)]


def panels(titles: Sequence[str], narrow: bool, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title: side by side, on a phone below each other.

    Args:
        height: of a panel, inches.
    """
    count = len(titles)
    rows, columns = (count, 1) if narrow else (1, count)
    size = (NARROW, height * count) if narrow else (WIDE, height)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=PAPER)
    found = []
    for number, title in enumerate(titles):
        axes = figure.add_subplot(rows, columns, number + 1)
        style_axes(axes)
        axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=10)
        found.append(axes)
    return figure, found


def line(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    look: Style,
    label: str,
    low: Sequence[float | None] | None = None,
    high: Sequence[float | None] | None = None,
    **more: Any,
) -> None:
    """A series, with a bar at each point that has an interval."""
    drawn: dict[str, Any] = {
        "color": look.light,
        "linewidth": 1.8,
        "linestyle": (0, look.dash) if look.dash else "-",
        "marker": look.marker,
        "markevery": marker_step(x),
        "markersize": 5.5,
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.8,
        "label": label,
        "zorder": 3,
        **more,
    }
    axes.plot(x, y, **drawn)
    for place, bottom, top in zip(x, low or (), high or (), strict=False):
        if bottom is not None and top is not None:
            axes.plot([place, place], [bottom, top], color=look.light, linewidth=1.2, alpha=0.65, zorder=2)


def axis_labels(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, color=SOFT)
    axes.set_ylabel(y, color=SOFT)


def log_scale(axes: Axes) -> None:
    """A logarithmic y axis, labelled at powers of ten: the canvas reads no mathematics, so they are written out."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _power_of_ten(value: float, _: object) -> str:
    exponent = round(math.log10(value))
    if -3 < exponent < 4:
        return f"{value:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def legend(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, below them, of the lines of one."""
    lines, names = axes.get_legend_handles_labels()
    columns = 2 if figure.get_figwidth() < 5 else min(len(names), 6)
    figure.legend(lines, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6, fontsize=9)


def points(axes: Axes, names: Sequence[str], seeds: Sequence[Sequence[float]], chosen: Sequence[Style]) -> None:
    """A column for each name: the mean of its seeds with Student's interval, the seeds themselves as faint dots."""
    for place, (values, look) in enumerate(zip(seeds, chosen, strict=True)):
        mean = mean_over_seeds(values)
        if mean.low is not None and mean.high is not None:
            axes.plot([place, place], [mean.low, mean.high], color=look.light, linewidth=1.6, alpha=0.65, zorder=2)
            spread = [place + 0.16] * len(values)
            axes.plot(spread, values, color=look.light, linestyle="", marker=".", markersize=5, alpha=0.6, zorder=2)
        dot = {"marker": look.marker, "markersize": 8, "markeredgecolor": PAPER, "markeredgewidth": 0.8}
        axes.plot([place], [mean.mean], color=look.light, linestyle="", zorder=3, **dot)  # type: ignore[arg-type]
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)), names)

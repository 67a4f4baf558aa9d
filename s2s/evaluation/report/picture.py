"""Pictures of results: BLEU by source length, learning curves, attention weights.

Each function `…_picture` writes one file, PNG or SVG by its extension; each `draw_…` returns the matplotlib figure,
which the report page turns into an element of its own (`s2s.evaluation.report.canvas.svg`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from s2s.errors import S2SError
from s2s.evaluation.by_length import Evaluation, LengthBin
from s2s.evaluation.report.canvas import DPI, GRID, PAPER, SHADE, SOFT, canvas, drawing, save
from s2s.evaluation.report.palette import FAMILY_WORDS, Style, styles


@dataclass(frozen=True)
class Series:
    """One system in the length picture. `family` decides colour and dash (`palette`)."""

    label: str
    evaluation: Evaluation
    family: str


@dataclass(frozen=True)
class Curve:
    """Validation BLEU during training: points are (update, seconds since the start, BLEU)."""

    label: str
    points: Sequence[tuple[int, float, float]]
    family: str


def length_picture(series: Sequence[Series], path: Path, title: str = "BLEU by source length") -> None:
    """BLEU by source length of one or many systems, with intervals, sentences per bin and the training limit.

    Raises:
        S2SError: no series, or they were evaluated on different test sets or bins; the file cannot be written.
    """
    with drawing():
        save(draw_length(series, title), path)


def curves_picture(curves: Sequence[Curve], path: Path, by: str = "seconds", title: str = "Validation BLEU") -> None:
    """Learning curves by training time (`by="seconds"`) or by update (`by="updates"`)."""
    with drawing():
        save(draw_curves(curves, by, title), path)


def attention_picture(
    weights: ArrayLike, source_pieces: Sequence[str], target_pieces: Sequence[str], path: Path, title: str = ""
) -> None:
    """Attention weights (target pieces, source pieces) as a heat map; each row shows where one piece was written from.

    Raises:
        S2SError: the shape does not fit the pieces; the file cannot be written.
    """
    matrix = check_weights(weights, source_pieces, target_pieces)
    rows, columns = matrix.shape
    with drawing():
        figure = Figure(figsize=(1.8 + 0.3 * columns, 1.8 + 0.3 * rows), dpi=DPI, layout="constrained", facecolor=PAPER)
        axes = figure.add_subplot()
        ramp = LinearSegmentedColormap.from_list("weights", [PAPER, "#5cb8ff", "#0b3c6f"])
        axes.imshow(matrix, cmap=ramp, vmin=0, vmax=1, aspect="equal", interpolation="nearest")
        axes.set_xticks(range(columns), list(source_pieces), rotation=90)
        axes.set_yticks(range(rows), list(target_pieces))
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_xlabel("source", color=SOFT)
        axes.xaxis.set_label_position("top")
        axes.set_ylabel("target", color=SOFT)
        if title:
            axes.set_title(title, loc="left", fontweight="bold")
        for side in axes.spines.values():
            side.set_color(GRID)
        save(figure, path)


def check_weights(weights: ArrayLike, source_pieces: Sequence[str], target_pieces: Sequence[str]) -> np.ndarray:
    """The weights as an array (T, S), or S2SError where they do not fit the pieces."""
    matrix = np.asarray(weights, dtype=np.float64)
    if matrix.shape != (len(target_pieces), len(source_pieces)) or not matrix.size:
        raise S2SError(
            f"attention weights of shape {matrix.shape} do not fit "
            f"{len(target_pieces)} target × {len(source_pieces)} source pieces"
        )
    return matrix


def draw_length(series: Sequence[Series], title: str = "", narrow: bool = False) -> Figure:
    """The figure of `length_picture`; `narrow` is for a phone: no labels at the lines, they need a legend beside it."""
    bins = _common_bins(series)
    looks = styles([one.family for one in series])
    about = f"bars: {series[0].evaluation.intervals}"
    figure, axes = canvas((4.3, 3.9) if narrow else (9.6, 5.4), title, about)
    slots = np.arange(len(bins))
    dodge = np.linspace(-0.5, 0.5, len(series)) * min(0.07 * (len(series) - 1), 0.36)
    top = 1.0
    for one, look, shift in zip(series, looks, dodge, strict=True):
        rows = list(zip(slots + shift, one.evaluation.by_length[: len(bins)], strict=True))
        scored = [(x, row.bleu) for x, row in rows if row.bleu is not None]
        axes.plot([x for x, _ in scored], [y for _, y in scored], **line_style(look), zorder=3)
        for x, row in rows:
            if row.low is not None and row.high is not None:
                axes.plot([x, x], [row.low, row.high], color=look.light, linewidth=1.3, alpha=0.65, zorder=2)
                top = max(top, row.high)
        top = max([top, *(y for _, y in scored)])
    axes.set_xlim(-0.5, len(bins) - 0.5)
    axes.set_ylim(0, min(top * 1.08, 104))
    limit = _limit_position(bins, series[0].evaluation.training_limit)
    if limit is not None:
        _draw_limit(axes, limit, len(bins), narrow)
    unit = series[0].evaluation.length_unit
    axes.set_xticks(slots, [row.label for row in bins])
    for slot, row in zip(slots, bins, strict=True):
        axes.annotate(
            f"n={row.sentences}" if narrow else f"n = {row.sentences:,}",
            (slot, 0),
            xytext=(0, -25),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
            color=SOFT,
            annotation_clip=False,
        )
    axes.set_xlabel(f"{unit} in the source (n: sentences)", labelpad=20, color=SOFT)
    axes.set_ylabel("BLEU", color=SOFT)
    if not narrow:
        _label_lines(axes, series, looks, dodge)
    return figure


def draw_curves(curves: Sequence[Curve], by: str, title: str = "", narrow: bool = False, legend: bool = True) -> Figure:
    """The figure of `curves_picture`; without `legend` it needs one beside it."""
    if by not in ("seconds", "updates"):
        raise S2SError(f"learning curves go by seconds or by updates, not by {by!r}")
    figure, axes = canvas((4.3, 3.2) if narrow else (9.6, 4.2), title)
    longest = max((seconds for curve in curves for _, seconds, _ in curve.points), default=0.0)
    unit, scale = ("hours", 3600.0) if longest > 2 * 3600 else ("minutes", 60.0) if longest > 120 else ("seconds", 1.0)
    best = 1.0
    for curve, look in zip(curves, styles([curve.family for curve in curves]), strict=True):
        x = [seconds / scale if by == "seconds" else step for step, seconds, _ in curve.points]
        y = [bleu for *_, bleu in curve.points]
        line = {**line_style(look), "marker": look.marker if len(x) < 25 else "", "markersize": 4.5}
        axes.plot(x, y, **line, label=curve.label, zorder=3)
        best = max([best, *y])
    axes.set_ylim(0, min(best * 1.08, 104))
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{unit} of training" if by == "seconds" else "updates", color=SOFT)
    axes.set_ylabel("validation BLEU", color=SOFT)
    if curves and legend:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.02), handlelength=3, labelspacing=0.7)
    return figure


def line_style(look: Style) -> dict[str, Any]:
    """How matplotlib draws the line of a system."""
    return {
        "color": look.light,
        "linewidth": 2.0,
        "linestyle": (0, look.dash) if look.dash else "-",
        "marker": look.marker,
        "markersize": 6.5,
        "markeredgecolor": PAPER,
        "markeredgewidth": 1.0,
    }


def _common_bins(series: Sequence[Series]) -> list[LengthBin]:
    if not series:
        raise S2SError("a picture by length needs at least one evaluated system")
    first = series[0].evaluation
    for one in series[1:]:
        if one.evaluation.test_set["sha256"] != first.test_set["sha256"]:
            raise S2SError(
                f"{series[0].label} and {one.label} were evaluated on different test sets: evaluate both on one"
            )
        if [(b.min, b.max) for b in one.evaluation.by_length] != [(b.min, b.max) for b in first.by_length]:
            raise S2SError(f"{series[0].label} and {one.label} were evaluated with different evaluation.bins")
    filled = [number for number, row in enumerate(first.by_length) if row.sentences]
    return first.by_length[: filled[-1] + 1] if filled else first.by_length  # no room for an empty last bin


def _limit_position(bins: Sequence[LengthBin], limit: int | None) -> float | None:
    """Where the training limit falls on the axis of equal slots; None outside of it (in the open last bin)."""
    if limit is None:
        return None
    for slot, row in enumerate(bins):
        if row.max is not None and limit <= row.max:
            return (
                slot - 0.5 + (limit - row.min + 1) / (row.max - row.min + 1)
                if row.min
                else slot - 0.5 + limit / row.max
            )
    last = bins[-1]
    return len(bins) - 1.5 if last.min and limit == last.min - 1 else None


def _draw_limit(axes: Axes, position: float, slots: int, narrow: bool) -> None:
    axes.axvspan(position, slots - 0.5, color=SHADE, linewidth=0, zorder=0)
    axes.axvline(position, color=SOFT, linewidth=1.1, zorder=1)
    near_end = position > slots * 0.6
    axes.annotate(
        "training limit" if narrow else "longest in training",
        (position, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if near_end else 5, 3),
        textcoords="offset points",
        ha="right" if near_end else "left",
        va="bottom",
        fontsize=8.5,
        color=SOFT,
        annotation_clip=False,
    )


def _label_lines(axes: Axes, series: Sequence[Series], looks: Sequence[Style], dodge: np.ndarray) -> None:
    """Names beside the lines' right ends, moved apart where they would overlap."""
    ends = []
    for one, look, shift in zip(series, looks, dodge, strict=True):
        scored = [(slot, row.bleu) for slot, row in enumerate(one.evaluation.by_length) if row.bleu is not None]
        if scored:
            ends.append((scored[-1][1], scored[-1][0] + shift, one, look))
    ends.sort(key=lambda end: -end[0])
    bottom, top = axes.get_ylim()
    step = (top - bottom) * 0.082
    places = [end[0] for end in ends]
    for number in range(1, len(places)):
        places[number] = min(places[number], places[number - 1] - step)
    if places and places[-1] < bottom:
        places[-1] = bottom
        for number in range(len(places) - 2, -1, -1):
            places[number] = max(places[number], places[number + 1] + step)
    edge = axes.get_xlim()[1]
    for (value, x, one, look), place in zip(ends, places, strict=True):
        axes.plot(
            [x, edge, edge + 0.12], [value, value, place], color=look.light, linewidth=0.8, alpha=0.55, clip_on=False
        )
        words = FAMILY_WORDS[one.family]
        axes.annotate(
            one.label,
            (edge + 0.15, place),
            xytext=(0, 1),
            textcoords="offset points",
            va="bottom",
            fontsize=9.5,
            fontweight="bold",
            color=look.light,
            annotation_clip=False,
        )
        axes.annotate(
            words,
            (edge + 0.15, place),
            xytext=(0, -1),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=SOFT,
            annotation_clip=False,
        )

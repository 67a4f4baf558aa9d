"""Pictures of learning curves and attention weights; `s2s.evaluation.report.length` has the one of scores by length.

Each `…_picture` function writes one file, PNG or SVG by its extension. Each `draw_…` function returns the matplotlib
figure, which the page includes as inline SVG (`s2s.evaluation.report.canvas.svg`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from s2s.errors import S2SError
from s2s.evaluation.report.canvas import DPI, GRID, PAPER, SOFT, canvas, drawing, save
from s2s.evaluation.report.palette import Style, styles


@dataclass(frozen=True)
class Curve:
    """Learning curve with points (update, seconds since the start, validation BLEU).

    Curves with the same label are trainings of one system.
    """

    label: str
    points: Sequence[tuple[int, float, float]]
    family: str


def curves_picture(curves: Sequence[Curve], path: Path, by: str = "seconds", title: str = "Validation BLEU") -> None:
    """Writes learning curves by training time (`by="seconds"`) or by update (`by="updates"`)."""
    with drawing():
        save(draw_curves(curves, by, title), path)


def attention_picture(
    weights: ArrayLike, source_pieces: Sequence[str], target_pieces: Sequence[str], path: Path, title: str = ""
) -> None:
    """Writes attention weights (target pieces, source pieces) as a heat map, a row for each target piece.

    Raises:
        S2SError: the shape does not match the pieces; the file cannot be written.
    """
    matrix = weight_matrix(weights, source_pieces, target_pieces)
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


def weight_matrix(weights: ArrayLike, source_pieces: Sequence[str], target_pieces: Sequence[str]) -> np.ndarray:
    """Returns the weights as an array (T, S); raises S2SError if the shape does not match the pieces."""
    matrix = np.asarray(weights, dtype=np.float64)
    if matrix.shape != (len(target_pieces), len(source_pieces)) or not matrix.size:
        raise S2SError(
            f"attention weights of shape {matrix.shape} do not fit "
            f"{len(target_pieces)} target × {len(source_pieces)} source pieces"
        )
    return matrix


def draw_curves(curves: Sequence[Curve], by: str, title: str = "", narrow: bool = False, legend: bool = True) -> Figure:
    """Returns the figure of `curves_picture`; without `legend` the page adds one."""
    if by not in ("seconds", "updates"):
        raise S2SError(f"learning curves go by seconds or by updates, not by {by!r}")
    figure, axes = canvas((4.3, 3.2) if narrow else (9.6, 4.2), title)
    longest = max((seconds for curve in curves for _, seconds, _ in curve.points), default=0.0)
    unit, scale = ("hours", 3600.0) if longest > 2 * 3600 else ("minutes", 60.0) if longest > 120 else ("seconds", 1.0)
    best = 1.0
    families = {curve.label: curve.family for curve in curves}
    looks = dict(zip(families, styles(list(families.values())), strict=True))
    labelled: set[str] = set()
    for curve in curves:
        look = looks[curve.label]
        x = [seconds / scale if by == "seconds" else step for step, seconds, _ in curve.points]
        y = [bleu for *_, bleu in curve.points]
        line = {**line_style(look), "markevery": marker_step(x), "markersize": 4.5}
        axes.plot(x, y, **line, label="" if curve.label in labelled else curve.label, zorder=3)
        labelled.add(curve.label)
        best = max([best, *y])
    axes.set_ylim(0, min(best * 1.08, 104))
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{unit} of training" if by == "seconds" else "updates", color=SOFT)
    axes.set_ylabel("validation BLEU", color=SOFT)
    if curves and legend:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.02), handlelength=3, labelspacing=0.7)
    return figure


def marker_step(points: Sequence[float]) -> int:
    """Returns the number of points per marker, for at most a dozen markers on a line."""
    return math.ceil(len(points) / 12) or 1


def line_style(look: Style) -> dict[str, Any]:
    """Returns matplotlib's line properties for a system."""
    return {
        "color": look.light,
        "linewidth": 2.0,
        "linestyle": (0, look.dash) if look.dash else "-",
        "marker": look.marker,
        "markersize": 6.5,
        "markeredgecolor": PAPER,
        "markeredgewidth": 1.0,
    }

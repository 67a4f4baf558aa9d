"""Picture of learning curves, and the line style of systems in all pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from s2s.errors import S2SError
from s2s.evaluation.report.canvas import PAPER, SOFT, canvas
from s2s.evaluation.report.palette import Style, styles


@dataclass(frozen=True)
class Curve:
    """Learning curve with points (update, seconds since the start, validation BLEU).

    Curves with the same label are trainings of one system.
    """

    label: str
    points: Sequence[tuple[int, float, float]]
    family: str


def draw_curves(curves: Sequence[Curve], by: str, narrow: bool = False) -> Figure:
    """Returns the figure of curves by training time (`by="seconds"`) or update (`by="updates"`), without a legend."""
    if by not in ("seconds", "updates"):
        raise S2SError(f"learning curves go by seconds or by updates, not by {by!r}")
    figure, axes = canvas((4.3, 3.2) if narrow else (9.6, 4.2))
    longest = max((seconds for curve in curves for _, seconds, _ in curve.points), default=0.0)
    unit, scale = ("hours", 3600.0) if longest > 2 * 3600 else ("minutes", 60.0) if longest > 120 else ("seconds", 1.0)
    best = 1.0
    families = {curve.label: curve.family for curve in curves}
    looks = dict(zip(families, styles(list(families.values())), strict=True))
    for curve in curves:
        look = looks[curve.label]
        x = [seconds / scale if by == "seconds" else step for step, seconds, _ in curve.points]
        y = [bleu for *_, bleu in curve.points]
        line = {**line_style(look), "markevery": marker_step(x), "markersize": 4.5}
        axes.plot(x, y, **line, zorder=3)
        best = max([best, *y])
    axes.set_ylim(0, min(best * 1.08, 104))
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{unit} of training" if by == "seconds" else "updates", color=SOFT)
    axes.set_ylabel("validation BLEU", color=SOFT)
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

"""Picture of translation quality by length: all systems, with intervals, sentences per bin and the training limit.

It has six views: BLEU, chrF++ or length ratio, by source or by reference length. For a system with several seeds the
line shows the mean and small circles the single trainings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.errors import S2SError
from s2s.evaluation.bleu import METRICS, Metric
from s2s.evaluation.by_length import SIDES, Evaluation, LengthBin, Side
from s2s.evaluation.report.canvas import DPI, PAPER, SHADE, SOFT, annotate, canvas, drawing, save, spread_labels
from s2s.evaluation.report.palette import FAMILY_NAMES, Style, styles
from s2s.evaluation.report.picture import line_style
from s2s.evaluation.report.prose import SystemScores

METRIC_NAMES: dict[Metric, str] = {"bleu": "BLEU", "chrf": "chrF++", "length_ratio": "length ratio"}
_FILE_WORDS: dict[Metric, str] = {"bleu": "", "chrf": "-chrf", "length_ratio": "-ratio"}


@dataclass(frozen=True)
class View:
    """View of the length picture: one metric by the length of one side."""

    metric: Metric
    side: Side

    @property
    def title(self) -> str:
        return f"{METRIC_NAMES[self.metric]} by {self.side} length"

    @property
    def stem(self) -> str:
        """Stem of the file names: `length`, `length-chrf`, `length-by-reference` …"""
        return f"length{_FILE_WORDS[self.metric]}{'-by-reference' if self.side == 'reference' else ''}"


BLEU_BY_SOURCE = View("bleu", "source")
VIEWS = tuple(View(metric, side) for side in SIDES for metric in METRICS)


def length_picture(systems: Sequence[SystemScores], *paths: Path, view: View = BLEU_BY_SOURCE) -> None:
    """Writes the picture to each path, PNG or SVG by the extension.

    Raises:
        S2SError: no system, or different test sets or bins among them; a file cannot be written.
    """
    with drawing():
        figure = draw_length(systems, view, view.title)
        for path in paths:
            save(figure, path)


def draw_length(
    systems: Sequence[SystemScores], view: View = BLEU_BY_SOURCE, title: str = "", narrow: bool = False
) -> Figure:
    """Returns the figure of `length_picture`; `narrow` (for a phone) has no labels at the lines and needs a legend."""
    bins = _common_bins(systems, view.side)
    first = systems[0].evaluation
    looks = styles([one.family for one in systems])
    subtitle = f"bars: {first.intervals}" + ("; circles: single seeds" if any(one.seeds for one in systems) else "")
    figure, axes = canvas((4.3, 3.9) if narrow else (9.6, 5.4), title, subtitle)
    slots = np.arange(len(bins))
    dodge = np.linspace(-0.5, 0.5, len(systems)) * min(0.07 * (len(systems) - 1), 0.36)
    values: list[float] = []
    ends = []
    for one, look, shift in zip(systems, looks, dodge, strict=True):
        values += _draw_system(axes, one, view, look, slots + shift)
        ends += [(point, one, look) for point in _points(one.evaluation, view, slots + shift)[-1:]]
    axes.set_xlim(-0.5, len(bins) - 0.5)
    _set_scale(axes, view.metric, values)
    axis = first.bins_by(view.side)
    if axis.limit is not None:
        _draw_limit(axes, bins, axis.limit)
    axes.set_xlabel(f"{axis.unit} in the {view.side} (n: sentences)", labelpad=20, color=SOFT)
    axes.set_ylabel(METRIC_NAMES[view.metric], color=SOFT)
    if not narrow:
        _label_lines(axes, ends)
    figure.draw_without_rendering()  # fixes the width of the axes beside all labels
    _label_bins(axes, bins, narrow)
    return figure


def _draw_system(axes: Axes, one: SystemScores, view: View, look: Style, slots: np.ndarray) -> list[float]:
    """Draws a line through the scores, a bar for each interval, a circle for each seed; returns all values drawn."""
    rows = [row.estimate(view.metric) for row in one.evaluation.bins_by(view.side).bins[: len(slots)]]
    circles: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3.2, "markerfacecolor": PAPER}
    circles |= {"markeredgecolor": look.light, "markeredgewidth": 0.9, "zorder": 4}
    values: list[float] = []
    for evaluation, style in ((one.evaluation, {**line_style(look), "zorder": 3}), *((e, circles) for e in one.seeds)):
        points = _points(evaluation, view, slots)
        axes.plot([x for x, _ in points], [y for _, y in points], **style)
        values += [y for _, y in points]
    for x, row in zip(slots, rows, strict=True):
        if row.low is not None and row.high is not None:
            axes.plot([x, x], [row.low, row.high], color=look.light, linewidth=1.3, alpha=0.65, zorder=2)
            values += [row.low, row.high]
    return values


def _points(evaluation: Evaluation, view: View, slots: np.ndarray) -> list[tuple[float, float]]:
    """The position and score of each bin that has a score; bins without a slot have none."""
    scores = [row.estimate(view.metric).value for row in evaluation.bins_by(view.side).bins]
    return [(x, y) for x, y in zip(slots, scores, strict=False) if y is not None]


def _set_scale(axes: Axes, metric: Metric, values: Sequence[float]) -> None:
    if metric == "length_ratio":
        axes.set_ylim(min([0.85, *(0.97 * value for value in values)]), max([1.1, *(1.03 * value for value in values)]))
        axes.axhline(1.0, color=SOFT, linewidth=0.9, zorder=1)  # length of the reference
    else:
        axes.set_ylim(0, min(max([1.0, *values]) * 1.08, 104))


def _common_bins(systems: Sequence[SystemScores], side: Side) -> list[LengthBin]:
    if not systems:
        raise S2SError("a picture by length needs at least one evaluated system")
    first = systems[0].evaluation
    edges = [(row.min, row.max) for row in first.bins_by(side).bins]
    for one in systems[1:]:
        if one.evaluation.test_set["sha256"] != first.test_set["sha256"]:
            raise S2SError(
                f"{systems[0].name} and {one.name} were evaluated on different test sets: evaluate both on one"
            )
        if [(row.min, row.max) for row in one.evaluation.bins_by(side).bins] != edges:
            raise S2SError(f"{systems[0].name} and {one.name} were evaluated with different evaluation.bins")
    bins = first.bins_by(side).bins
    filled = [number for number, row in enumerate(bins) if row.sentences]
    return bins[: filled[-1] + 1] if filled else bins  # empty last bins are left out


def _draw_limit(axes: Axes, bins: Sequence[LengthBin], limit: int) -> None:
    """Draws a line at the end of the bin with the training limit, as a point stands for a whole bin.

    Bins beyond it are shaded. A limit in the open last bin, or beyond all test sentences, is only named.
    """
    slot = next((slot for slot, row in enumerate(bins) if row.max is not None and limit <= row.max), None)
    position = len(bins) - 0.5 if slot is None else slot + 0.5
    if slot is not None:
        axes.axvspan(position, len(bins) - 0.5, color=SHADE, linewidth=0, zorder=0)
        axes.axvline(position, color=SOFT, linewidth=1.1, zorder=1)
    near_end = position + 0.5 > len(bins) / 2
    text = f"longest in training: {limit:,}{' →' if slot is None else ''}"
    align: dict[str, Any] = {"ha": "right" if near_end else "left", "va": "bottom"}
    coordinates = ("data", "axes fraction")
    annotate(axes, text, (position, 1), (-5 if near_end else 5, 3), xycoords=coordinates, fontsize=8.5, **align)


def _label_bins(axes: Axes, bins: Sequence[LengthBin], narrow: bool) -> None:
    """Labels the bins with lengths and numbers of sentences, or every n-th bin if there is no room for all."""
    sizes = [f"n={row.sentences}" if narrow else f"n = {row.sentences:,}" for row in bins]
    room = 72 * axes.get_window_extent().width / DPI / len(bins)  # points for each bin
    needed = 0.66 * max(10 * max(len(row.label) for row in bins), 8 * max(map(len, sizes)))
    shown = range(0, len(bins), math.ceil(needed / room))
    axes.set_xticks(shown, [bins[slot].label for slot in shown])
    for slot in shown:
        coordinates = ("data", "axes fraction")
        annotate(axes, sizes[slot], (slot, 0), (0, -25), xycoords=coordinates, ha="center", va="top", fontsize=8)


def _label_lines(axes: Axes, ends: Sequence[tuple[tuple[float, float], SystemScores, Style]]) -> None:
    """Writes the names beside the right ends of the lines, moved apart where they would overlap."""
    ends = sorted(ends, key=lambda end: -end[0][1])
    bottom, top = axes.get_ylim()
    heights = spread_labels([value for (_, value), _, _ in ends], (top - bottom) * 0.082, bottom)
    edge = axes.get_xlim()[1]
    for ((x, value), one, look), height in zip(ends, heights, strict=True):
        axes.plot(
            [x, edge, edge + 0.12], [value, value, height], color=look.light, linewidth=0.8, alpha=0.55, clip_on=False
        )
        place, bold = (edge + 0.15, height), {"fontsize": 9.5, "fontweight": "bold", "color": look.text}
        annotate(axes, one.name, place, (0, 1), va="bottom", **bold)
        annotate(axes, FAMILY_NAMES[one.family], place, (0, -1), va="top", fontsize=8)

"""The picture of quality by length: every system, with intervals, sentences per bin and the training limit.

It has six views: BLEU, chrF++ or length ratio, by the length of the source or of the reference. Of a system that was
trained with several seeds it shows the mean as a line and each training as a small circle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.errors import S2SError
from s2s.evaluation.bleu import METRICS, Metric
from s2s.evaluation.by_length import SIDES, Evaluation, LengthBin, Side
from s2s.evaluation.report.canvas import DPI, PAPER, SHADE, SOFT, canvas, drawing, save
from s2s.evaluation.report.palette import FAMILY_WORDS, Style, styles
from s2s.evaluation.report.picture import line_style

METRIC_WORDS: dict[Metric, str] = {"bleu": "BLEU", "chrf": "chrF++", "length_ratio": "length ratio"}
_FILE_WORDS: dict[Metric, str] = {"bleu": "", "chrf": "-chrf", "length_ratio": "-ratio"}


@dataclass(frozen=True)
class Series:
    """One system in the length picture. `family` decides colour and dash (`palette`)."""

    label: str
    evaluation: Evaluation
    family: str
    seeds: Sequence[Evaluation] = ()  # of each training, where there are several; `evaluation` is their mean then


@dataclass(frozen=True)
class View:
    """What a length picture shows: one metric, by the length of one side."""

    metric: Metric
    side: Side

    @property
    def words(self) -> str:
        return f"{METRIC_WORDS[self.metric]} by {self.side} length"

    @property
    def stem(self) -> str:
        """Of the names of its files: `length`, `length-chrf`, `length-by-reference` …"""
        return f"length{_FILE_WORDS[self.metric]}{'-by-reference' if self.side == 'reference' else ''}"


BLEU_BY_SOURCE = View("bleu", "source")
VIEWS = tuple(View(metric, side) for side in SIDES for metric in METRICS)


def length_picture(series: Sequence[Series], *paths: Path, view: View = BLEU_BY_SOURCE) -> None:
    """Writes the picture to each of the paths, PNG or SVG by the extension.

    Raises:
        S2SError: no series, or they were evaluated on different test sets or bins; a file cannot be written.
    """
    with drawing():
        figure = draw_length(series, view, view.words)
        for path in paths:
            save(figure, path)


def draw_length(series: Sequence[Series], view: View = BLEU_BY_SOURCE, title: str = "", narrow: bool = False) -> Figure:
    """The figure of `length_picture`; `narrow` is for a phone: no labels at the lines, they need a legend beside it."""
    bins = _common_bins(series, view.side)
    first = series[0].evaluation
    looks = styles([one.family for one in series])
    about = f"bars: {first.intervals}" + ("; circles: single seeds" if any(one.seeds for one in series) else "")
    figure, axes = canvas((4.3, 3.9) if narrow else (9.6, 5.4), title, about)
    slots = np.arange(len(bins))
    dodge = np.linspace(-0.5, 0.5, len(series)) * min(0.07 * (len(series) - 1), 0.36)
    seen: list[float] = []
    for one, look, shift in zip(series, looks, dodge, strict=True):
        seen += _draw_system(axes, one, view, look, slots + shift)
    axes.set_xlim(-0.5, len(bins) - 0.5)
    _set_scale(axes, view.metric, seen)
    along = first.along(view.side)
    if along.limit is not None:
        _draw_limit(axes, bins, along.limit)
    axes.set_xlabel(f"{along.unit} in the {view.side} (n: sentences)", labelpad=20, color=SOFT)
    axes.set_ylabel(METRIC_WORDS[view.metric], color=SOFT)
    if not narrow:
        _label_lines(axes, series, looks, dodge, view)
    figure.draw_without_rendering()  # from here on the axes have the width that everything beside them leaves
    _label_bins(axes, bins, narrow)
    return figure


def _draw_system(axes: Axes, one: Series, view: View, look: Style, slots: np.ndarray) -> list[float]:
    """A line through the scores, a bar for each interval, a circle for each seed; returns all values in it."""
    rows = [row.of(view.metric) for row in one.evaluation.along(view.side).bins[: len(slots)]]
    scored = [(x, row.value) for x, row in zip(slots, rows, strict=True) if row.value is not None]
    axes.plot([x for x, _ in scored], [y for _, y in scored], **line_style(look), zorder=3)
    seen = [y for _, y in scored]
    for x, row in zip(slots, rows, strict=True):
        if row.low is not None and row.high is not None:
            axes.plot([x, x], [row.low, row.high], color=look.light, linewidth=1.3, alpha=0.65, zorder=2)
            seen += [row.low, row.high]
    for training in one.seeds:
        values = [row.of(view.metric).value for row in training.along(view.side).bins[: len(slots)]]
        points = [(x, y) for x, y in zip(slots, values, strict=True) if y is not None]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            linestyle="",
            marker="o",
            markersize=3.2,
            markerfacecolor=PAPER,
            markeredgecolor=look.light,
            markeredgewidth=0.9,
            zorder=4,
        )
        seen += [y for _, y in points]
    return seen


def _set_scale(axes: Axes, metric: Metric, seen: Sequence[float]) -> None:
    if metric == "length_ratio":
        axes.set_ylim(min([0.85, *(0.97 * value for value in seen)]), max([1.1, *(1.03 * value for value in seen)]))
        axes.axhline(1.0, color=SOFT, linewidth=0.9, zorder=1)  # as long as the reference
    else:
        axes.set_ylim(0, min(max([1.0, *seen]) * 1.08, 104))


def _common_bins(series: Sequence[Series], side: Side) -> list[LengthBin]:
    if not series:
        raise S2SError("a picture by length needs at least one evaluated system")
    first = series[0].evaluation
    edges = [(row.min, row.max) for row in first.along(side).bins]
    for one in series[1:]:
        if one.evaluation.test_set["sha256"] != first.test_set["sha256"]:
            raise S2SError(
                f"{series[0].label} and {one.label} were evaluated on different test sets: evaluate both on one"
            )
        if [(row.min, row.max) for row in one.evaluation.along(side).bins] != edges:
            raise S2SError(f"{series[0].label} and {one.label} were evaluated with different evaluation.bins")
    bins = first.along(side).bins
    filled = [number for number, row in enumerate(bins) if row.sentences]
    return bins[: filled[-1] + 1] if filled else bins  # no room for an empty last bin


def _draw_limit(axes: Axes, bins: Sequence[LengthBin], limit: int) -> None:
    """A line at the end of the bin that holds the training limit: a point stands for a whole bin, on one side of it.

    Bins that are wholly beyond are shaded. The limit need not be in the picture: the open last bin has no end, and what
    is longer than all test sentences has no bin.
    """
    slot = next((slot for slot, row in enumerate(bins) if row.max is not None and limit <= row.max), None)
    position = len(bins) - 0.5 if slot is None else slot + 0.5
    if slot is not None:
        axes.axvspan(position, len(bins) - 0.5, color=SHADE, linewidth=0, zorder=0)
        axes.axvline(position, color=SOFT, linewidth=1.1, zorder=1)
    near_end = position + 0.5 > len(bins) / 2
    axes.annotate(
        f"longest in training: {limit:,}{' →' if slot is None else ''}",
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


def _label_bins(axes: Axes, bins: Sequence[LengthBin], narrow: bool) -> None:
    """The lengths of the bins and their numbers of sentences; of every second bin where all have no room, and so on."""
    sizes = [f"n={row.sentences}" if narrow else f"n = {row.sentences:,}" for row in bins]
    room = 72 * axes.get_window_extent().width / DPI / len(bins)  # points for each bin
    needed = 0.66 * max(10 * max(len(row.label) for row in bins), 8 * max(map(len, sizes)))
    shown = range(0, len(bins), math.ceil(needed / room))
    axes.set_xticks(shown, [bins[slot].label for slot in shown])
    for slot in shown:
        axes.annotate(
            sizes[slot],
            (slot, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -25),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
            color=SOFT,
            annotation_clip=False,
        )


def _label_lines(axes: Axes, series: Sequence[Series], looks: Sequence[Style], dodge: np.ndarray, view: View) -> None:
    """Names beside the lines' right ends, moved apart where they would overlap."""
    ends = []
    for one, look, shift in zip(series, looks, dodge, strict=True):
        values = [row.of(view.metric).value for row in one.evaluation.along(view.side).bins]
        scored = [(slot, value) for slot, value in enumerate(values) if value is not None]
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
            color=look.text,
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

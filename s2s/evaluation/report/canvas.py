"""The ground that pictures are drawn on: figures, fonts, neutral colours, and writing them as PNG, SVG or page text.

Figures are matplotlib's own objects, without a display and without pyplot's global state; the same figure gives the
same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from s2s.errors import S2SError
from s2s.evaluation.report.palette import styles
from s2s.files import atomic_write

INK, SOFT, GRID, SHADE, PAPER = "#1d1d21", "#6a6a72", "#e4e4e8", "#f3f2ee", "#ffffff"
DPI = 160
_FONTS = ["DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei"]


@contextmanager
def drawing(salt: str = "s2s") -> Iterator[None]:
    """matplotlib's settings while one figure is made and written: what it has no other place for."""
    installed = set(font_manager.get_font_names())
    settings: dict[str, Any] = {
        "font.family": [name for name in _FONTS if name in installed] or ["sans-serif"],
        "font.size": 10,
        "text.parse_math": False,  # a `$` in a piece or a label is a dollar
        "text.color": INK,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
    }
    with mpl.rc_context(cast(Any, settings)):
        yield


def canvas(size: tuple[float, float], title: str, subtitle: str = "") -> tuple[Figure, Axes]:
    """An empty figure of this size (inches) with one pair of axes in the common look."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=PAPER)
    axes = figure.add_subplot()
    ground(axes)
    if title:
        axes.set_title(title, loc="left", fontweight="bold", fontsize=13, pad=34 if subtitle else 14, color=INK)
        axes.annotate(
            subtitle,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 20),
            textcoords="offset points",
            fontsize=8.5,
            color=SOFT,
            annotation_clip=False,
        )
    return figure, axes


def ground(axes: Axes) -> None:
    """The common look of a pair of axes: a base line, and soft lines across."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(length=0, colors=INK, pad=6)
    axes.grid(axis="y", color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG or SVG, by the extension; S2SError for another one, or where it cannot be written."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "svg"):
        raise S2SError(f"{path}: a picture is written as .png or .svg")
    buffer = io.BytesIO()
    if kind == "png":
        FigureCanvasAgg(figure)
    figure.savefig(buffer, format=kind, dpi=DPI, metadata={"Software": None} if kind == "png" else {"Date": None})
    with atomic_write(path, "wb") as file:
        file.write(buffer.getvalue())


def svg(draw: Callable[[], Figure], families: Sequence[str], salt: str) -> str:
    """A drawn figure as an `<svg>` element for a page: colours as CSS variables, text in the page's font.

    Args:
        draw: makes the figure.
        families: of the systems that may be in it, in order; system number i has the colour `var(--system-i)`, and in
            text `var(--system-i-text)`.
        salt: distinct for each picture of a page, so that their ids differ.
    """
    with drawing(salt):
        buffer = io.StringIO()
        draw().savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)  # the style would rule the whole page
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", text)
    text = re.sub(r"(font: [^;'\"]*?)'DejaVu Sans'[^;\"]*", r"\1var(--font)", text)
    variables = {INK: "--ink", SOFT: "--soft", GRID: "--grid", SHADE: "--shade", PAPER: "--paper"}
    for number, look in enumerate(styles(families)):
        variables.setdefault(look.light, f"--system-{number}")
        variables.setdefault(look.text, f"--system-{number}-text")
    for color, name in variables.items():
        text = text.replace(color, f"var({name})")
    # what is left of the ids comes from the salt
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if f"#{found[1]}" in text else "", text)

"""Canvas of all pictures: figures, fonts and neutral colours, written as PNG, SVG or inline SVG.

Figures are matplotlib's own, without a display or pyplot's global state. The same figure gives the same bytes.
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
    """Sets matplotlib's global settings while a figure is drawn and written."""
    installed = set(font_manager.get_font_names())
    settings: dict[str, Any] = {
        "font.family": [name for name in _FONTS if name in installed] or ["sans-serif"],
        "font.size": 10,
        "text.parse_math": False,  # a `$` in a piece or a label is literal
        "text.color": INK,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
    }
    with mpl.rc_context(cast(Any, settings)):
        yield


def canvas(size: tuple[float, float], title: str = "", subtitle: str = "") -> tuple[Figure, Axes]:
    """Returns an empty figure of this size (inches) with one pair of axes in the common style."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=PAPER)
    axes = figure.add_subplot()
    style_axes(axes)
    if title:
        axes.set_title(title, loc="left", fontweight="bold", fontsize=13, pad=34 if subtitle else 14, color=INK)
        annotate(axes, subtitle, (0, 1), (0, 20), xycoords="axes fraction", fontsize=8.5)
    return figure, axes


def annotate(axes: Axes, text: str, position: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Writes a text at an offset in points from a position, also outside of the axes."""
    axes.annotate(
        text, position, xytext=offset, textcoords="offset points", annotation_clip=False, **{"color": SOFT, **style}
    )


def spread_labels(heights: Sequence[float], step: float, bottom: float) -> list[float]:
    """Returns falling label heights moved at least `step` apart, the lowest at `bottom` or above it."""
    heights = list(heights)
    for number in range(1, len(heights)):
        heights[number] = min(heights[number], heights[number - 1] - step)
    if heights and heights[-1] < bottom:
        heights[-1] = bottom
        for number in range(len(heights) - 2, -1, -1):
            heights[number] = max(heights[number], heights[number + 1] + step)
    return heights


def style_axes(axes: Axes) -> None:
    """Sets the common style of a pair of axes: a base line and soft horizontal grid lines."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(length=0, colors=INK, pad=6)
    axes.grid(axis="y", color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG or SVG, by the extension; raises S2SError for others or if it cannot be written."""
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
    """Returns a figure as an inline `<svg>` element with CSS variables as colours and the page's font.

    Args:
        draw: returns the figure.
        families: of the systems in it, in order; system i has the colour `var(--system-i)` and, in text,
            `var(--system-i-text)`.
        salt: distinct for each picture of a page, so that their ids differ.
    """
    with drawing(salt):
        buffer = io.StringIO()
        draw().savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL
    )  # a <style> element applies to the whole page
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", text)
    text = re.sub(r"(font: [^;'\"]*?)'DejaVu Sans'[^;\"]*", r"\1var(--font)", text)
    variables = {INK: "--ink", SOFT: "--soft", GRID: "--grid", SHADE: "--shade", PAPER: "--paper"}
    for number, look in enumerate(styles(families)):
        variables.setdefault(look.light, f"--system-{number}")
        variables.setdefault(look.text, f"--system-{number}-text")
    for color, name in variables.items():
        text = text.replace(color, f"var({name})")
    # only ids that are referenced remain; they come from the salt
    return re.sub(r' id="([^"]*)"', lambda match: match[0] if f"#{match[1]}" in text else "", text)

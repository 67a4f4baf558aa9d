"""Palette: the colour, dash and marker of a system in every picture and on the page, fixed by its family.

Systems with a fixed-length context vector are warm and dashed. The others read the source by attention and are solid:
cool with a recurrent decoder, violet with self-attention in it, olive with convolution. The hues suit the common kinds
of colour blindness (after P. Tol's "vibrant" and "muted" schemes), and no difference relies on colour alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from s2s.errors import S2SError

Dash = tuple[float, ...]

FAMILY_NAMES: dict[str, str] = {
    "fixed": "fixed-length context vector",
    "attention": "attention",
    "self-attention": "self-attention",
    "convolution": "convolution",
}
# (on white, the same for text on white, on near-black)
_COLORS: dict[str, list[tuple[str, str, str]]] = {
    "fixed": [
        ("#cc3311", "#cc3311", "#ff7a5c"),
        ("#e07b00", "#ac5f00", "#ffb454"),
        ("#d81b73", "#d81b73", "#ff79b0"),
        ("#8c5a2b", "#8c5a2b", "#d2a679"),
    ],
    "attention": [
        ("#0077bb", "#0077bb", "#5cb8ff"),
        ("#009988", "#008172", "#3fd9c6"),
        ("#2aa5d8", "#1f7aa0", "#9bdcff"),
        ("#44775a", "#44775a", "#9ad1ae"),
    ],
    "self-attention": [("#5b2a9d", "#5b2a9d", "#c3a2ff"), ("#aa4499", "#aa4499", "#f09ae0")],
    "convolution": [("#6b6b00", "#6b6b00", "#d3d35c"), ("#555555", "#555555", "#c8c8c8")],
}
_DASHES: dict[str, list[Dash]] = {
    "fixed": [(5, 2.2), (2.4, 1.8), (7, 2, 1.6, 2)],
    "attention": [()],
    "self-attention": [()],
    "convolution": [()],
}
_MARKERS = {"fixed": "os^Dv", "attention": "osD^v", "self-attention": "DP*X", "convolution": "XP"}


def family_of(reads: str, mixes: tuple[str, str]) -> str:
    """The family of a model (`reads` and `mixes` of `s2s.models.interface.Seq2Seq`), which its decoder decides."""
    return reads if reads == "fixed" or mixes[1] not in FAMILY_NAMES else mixes[1]


@dataclass(frozen=True)
class Style:
    """Line style of a system."""

    light: str  # colour on a light background
    text: str  # `light`, darkened for text to a contrast of 4.5 to 1
    dark: str  # colour of line and text on a dark background
    dash: Dash  # on/off lengths, () for a solid line
    marker: str


def styles(families: Sequence[str]) -> list[Style]:
    """Returns the styles of systems with these families, in order, with distinct styles within a family.

    Raises:
        S2SError: an unknown family.
    """
    used: Counter[str] = Counter()
    result = []
    for family in families:
        if family not in _COLORS:
            raise S2SError(f"family {family!r} of a system is not one of: {', '.join(_COLORS)}")
        number, colors, dashes, markers = used[family], _COLORS[family], _DASHES[family], _MARKERS[family]
        used[family] += 1
        result.append(
            Style(*colors[number % len(colors)], dashes[number % len(dashes)], markers[number % len(markers)])
        )
    return result


_MARKER_PATHS = {
    "o": "M17 2.4a3.6 3.6 0 1 0 .01 0z",
    "s": "M13.8 2.8h6.4v6.4h-6.4z",
    "^": "M17 1.8l4 7.2h-8z",
    "v": "M17 10.2l4-7.2h-8z",
    "D": "M17 1.4l4.6 4.6-4.6 4.6-4.6-4.6z",
    "P": "M15.6 2h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z",
    "X": "M14.6 1.8l2.4 2.4 2.4-2.4 1.8 1.8-2.4 2.4 2.4 2.4-1.8 1.8-2.4-2.4-2.4 2.4-1.8-1.8 2.4-2.4-2.4-2.4z",
    "*": "M17 1l1.3 3.6h3.9l-3.1 2.3 1.2 3.7-3.3-2.3-3.3 2.3 1.2-3.7-3.1-2.3h3.9z",
}


def swatch(style: Style, number: int) -> str:
    """Returns a small `<svg>` of a line and marker in the colour `var(--system-<number>)`, for legends and tables."""
    dash = f' stroke-dasharray="{" ".join(f"{2 * part:g}" for part in style.dash)}"' if style.dash else ""
    color = f"var(--system-{number})"
    return (
        '<svg class="swatch" viewBox="0 0 34 12" aria-hidden="true">'
        f'<path d="M0 6h34" fill="none" stroke="{color}" stroke-width="2.4"{dash}/>'
        f'<path d="{_MARKER_PATHS[style.marker]}" fill="{color}" stroke="var(--paper)"/></svg>'
    )

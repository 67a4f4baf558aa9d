"""Durations as text."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Returns `0.8 s`, `48 s`, `4 min 12 s`, `1 h 03 min`; `n/a` for None."""
    if seconds is None:
        return "n/a"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"

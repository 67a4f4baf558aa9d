"""Text pairs in English and German, and their length in words."""

from __future__ import annotations

Pair = tuple[str, str]  # English, German


def words(text: str) -> int:
    """Number of words."""
    return text.count(" ") + 1 if text else 0

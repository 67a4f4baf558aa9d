"""A text in English and German, and its length in words."""

from __future__ import annotations

Pair = tuple[str, str]  # English, German


def words(text: str) -> int:
    """How many there are."""
    return text.count(" ") + 1 if text else 0

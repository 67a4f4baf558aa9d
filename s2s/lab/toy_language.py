"""A toy language in which a translation is shorter or longer than its source.

Each source symbol stands for 0 to 3 target symbols, and the translation comes in reversed order, so that its first
symbol is known only when the source ends.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

STANDS_FOR = [0, 0, 1, 1, 1, 2, 2, 3]  # target symbols, by source symbol
FIRST = 4  # ids below are special
SYMBOLS = 8  # of the target language


class Examples(NamedTuple):
    """Sources and their translations, as ids."""

    source: list[list[int]]
    target: list[list[int]]


def lexicon(seed: int) -> list[list[int]]:
    """What each source symbol stands for, all different but for those that stand for nothing."""
    generator = torch.Generator().manual_seed(seed)
    words: list[list[int]] = []
    for length in STANDS_FOR:
        while True:
            word = torch.randint(FIRST, FIRST + SYMBOLS, (length,), generator=generator).tolist()
            if not word or word not in words:
                break
        words.append(word)
    return words


def draw_examples(
    words: list[list[int]], count: int, shortest: int, longest: int, generator: torch.Generator
) -> Examples:
    """Random sources of so many symbols, translated."""
    lengths = torch.randint(shortest, longest + 1, (count,), generator=generator).tolist()
    sources = [torch.randint(len(words), (length,), generator=generator).tolist() for length in lengths]
    targets = [[symbol for number in reversed(source) for symbol in words[number]] for source in sources]
    return Examples([[FIRST + number for number in source] for source in sources], targets)

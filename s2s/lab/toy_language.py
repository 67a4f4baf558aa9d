"""Toy language with translations shorter or longer than their sources.

Each source symbol is translated by 0 to 3 target symbols, in reversed order, so the first target symbol depends on the
end of the source.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from s2s.data.batching import Batch, collate

WORD_LENGTHS = [0, 0, 1, 1, 1, 2, 2, 3]  # target symbols for each source symbol
FIRST = 4  # ids below are special
SYMBOLS = 8  # of the target language


Pair = tuple[list[int], list[int]]  # a source and its translation, as ids


def lexicon(seed: int) -> list[list[int]]:
    """The translation of each source symbol; all non-empty ones differ."""
    generator = torch.Generator().manual_seed(seed)
    words: list[list[int]] = []
    for length in WORD_LENGTHS:
        while True:
            word = torch.randint(FIRST, FIRST + SYMBOLS, (length,), generator=generator).tolist()
            if not word or word not in words:
                break
        words.append(word)
    return words


def sample_examples(
    words: list[list[int]], count: int, shortest: int, longest: int, generator: torch.Generator
) -> list[Pair]:
    """Random sources of `shortest` to `longest` symbols with their translations."""
    lengths = torch.randint(shortest, longest + 1, (count,), generator=generator).tolist()
    sources = [torch.randint(len(words), (length,), generator=generator).tolist() for length in lengths]
    return [
        ([FIRST + number for number in source], [symbol for number in reversed(source) for symbol in words[number]])
        for source in sources
    ]


def as_batch(examples: Sequence[Pair]) -> Batch:
    """These pairs as one batch."""
    sources, targets = zip(*examples, strict=True)
    return collate(sources, targets, range(len(examples)))

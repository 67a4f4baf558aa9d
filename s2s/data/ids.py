"""A tokenised text in compact form."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

Encode = Callable[[Sequence[str]], list[list[int]]]

CHUNK = 4096  # lines tokenised at once
PROGRESS_FROM = 100_000  # lines; fewer take seconds and need no progress bar


class FlatIds:
    """Id sequences end to end in one array: a few bytes for each token, where Python lists would take 40.

    Args:
        texts: N lines.
        encode: turns lines into id sequences.
        vocabulary: ids are below this.
        label: what the progress bar says.
    """

    def __init__(self, texts: Sequence[str], encode: Encode, vocabulary: int, label: str) -> None:
        kind = np.uint16 if vocabulary <= 2**16 else np.int32
        parts, lengths = [np.zeros(0, dtype=kind)], [np.zeros(1, dtype=np.int64)]
        # Small corpora need no bar; with None, tqdm shows it on a terminal only.
        with tqdm(total=len(texts), desc=label, unit=" lines", disable=len(texts) < PROGRESS_FROM or None) as bar:
            for start in range(0, len(texts), CHUNK):
                ids = encode(texts[start : start + CHUNK])
                parts.append(np.fromiter(itertools.chain.from_iterable(ids), dtype=kind))
                lengths.append(np.array([len(row) for row in ids], dtype=np.int64))
                bar.update(len(ids))
        self.values = np.concatenate(parts)
        self.offsets = np.cumsum(np.concatenate(lengths))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) ids of each line."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, line: int) -> NDArray[np.integer]:
        return self.values[self.offsets[line] : self.offsets[line + 1]]


def seeded(sample: Callable[[Sequence[str], int], list[list[int]]], seed: list[int]) -> Encode:
    chunks = itertools.count()

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return sample(texts, int(np.random.SeedSequence([*seed, next(chunks)]).generate_state(1)[0]))

    return encode

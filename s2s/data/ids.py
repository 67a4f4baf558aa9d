"""Token ids of a text in a memory-mapped file, so that the size of the text does not matter."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from s2s.data.cache import cache_folder, cached
from s2s.data.columns import TextColumn
from s2s.errors import S2SError
from s2s.files import cannot_write

Encode = Callable[[Sequence[str]], list[list[int]]]
Sample = Callable[[Sequence[str], int], list[list[int]]]  # texts and a seed

CHUNK = 4096  # lines tokenised at once
PROGRESS_FROM = 100_000  # lines; fewer take seconds and need no progress bar


class FlatIds:
    """Concatenated id sequences in a memory-mapped file: two bytes for each token, where Python lists would take 40.

    Args:
        values: the file.
        lengths: (N,) int32 number of ids of each line.
        vocabulary: exclusive upper bound of the ids.

    Raises:
        S2SError: the file is damaged.
    """

    def __init__(self, values: Path | IO[bytes], lengths: NDArray[np.int32], vocabulary: int) -> None:
        self.lengths = lengths
        self._offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=self._offsets[1:])
        dtype = _dtype(vocabulary)
        # An empty file cannot be mapped.
        self._values: NDArray[Any] = np.memmap(values, dtype, "r") if self._offsets[-1] else np.zeros(0, dtype=dtype)
        if len(self._values) != self._offsets[-1]:
            raise S2SError(f"{values} is damaged, not all of the tokenised text is there: delete its folder")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, line: int) -> NDArray[np.integer]:
        return self._values[self._offsets[line] : self._offsets[line + 1]]


def cached_ids(texts: Sequence[str], encode: Encode, vocabulary: int, model: bytes, label: str) -> FlatIds:
    """Returns the ids of a text; those of a table's column are computed once and kept in the cache.

    Args:
        texts: N lines.
        encode: maps lines to id sequences.
        vocabulary: exclusive upper bound of the ids.
        model: identifies `encode` in the cache.
        label: text of the progress bar.
    """
    if not isinstance(texts, TextColumn):
        return temporary_ids(texts, encode, vocabulary, label)

    def make(folder: Path) -> None:
        with (folder / "values").open("wb") as file:
            np.save(folder / "lengths.npy", _write(file, texts, encode, vocabulary, label))

    folder = cached("ids", (texts.identity, model), make)
    return FlatIds(folder / "values", np.load(folder / "lengths.npy", mmap_mode="r"), vocabulary)


def temporary_ids(texts: Sequence[str], encode: Encode, vocabulary: int, label: str) -> FlatIds:
    """Returns the ids of a text in an unnamed temporary file, which is deleted with its last user."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_folder()) as file:
            lengths = _write(file, texts, encode, vocabulary, label)
            file.flush()
            return FlatIds(file, lengths, vocabulary)
    except OSError as error:
        raise cannot_write(cache_folder(), error) from error


def seeded(sample: Sample, seed: list[int]) -> Encode:
    """Returns an encoder that samples from `seed` and the number of the chunk."""
    chunks = itertools.count()

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return sample(texts, int(np.random.SeedSequence([*seed, next(chunks)]).generate_state(1)[0]))

    return encode


def _dtype(vocabulary: int) -> type[np.uint16] | type[np.int32]:
    return np.uint16 if vocabulary <= 2**16 else np.int32


def _write(file: IO[bytes], texts: Sequence[str], encode: Encode, vocabulary: int, label: str) -> NDArray[np.int32]:
    """Writes the ids of all lines into `file` and returns the (N,) number of ids of each."""
    lengths = np.zeros(len(texts), dtype=np.int32)
    # Small corpora need no bar; with None, tqdm shows it on a terminal only.
    with tqdm(total=len(texts), desc=label, unit=" lines", disable=len(texts) < PROGRESS_FROM or None) as bar:
        for start in range(0, len(texts), CHUNK):
            ids = encode(texts[start : start + CHUNK])
            file.write(np.fromiter(itertools.chain.from_iterable(ids), dtype=_dtype(vocabulary)).tobytes())
            lengths[start : start + len(ids)] = [len(row) for row in ids]
            bar.update(len(ids))
    return lengths

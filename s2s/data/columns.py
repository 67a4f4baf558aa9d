"""Columns of text in memory-mapped tables, and calling `datasets`, which makes the tables, with one-line errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from s2s.data.cache import cached
from s2s.errors import S2SError

T = TypeVar("T")
Columns = tuple["TextColumn", "TextColumn"]  # source, target

CHUNK = 4096  # rows turned into strings at once
_CACHE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}  # nowhere to put the tables


class TextColumn(Sequence[str]):
    """A column of strings in a memory-mapped table.

    Args:
        column: an Arrow column.
        rows: (N,) which rows are meant, in order; all of them without it.
    """

    def __init__(self, column: Any, rows: NDArray[np.int64] | None = None) -> None:
        self._column, self._rows = column, rows

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            span = range(*index.indices(len(self)))
            if self._rows is None and span.step == 1:
                part = self._column.slice(span.start, len(span))
            else:
                part = self._column.take(np.asarray(span) if self._rows is None else self._rows[index])
            texts: list[str] = part.to_pylist()
            return texts
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        row = index % len(self) if self._rows is None else int(self._rows[index])
        text: str = self._column[row].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]

    def select(self, rows: NDArray[np.int64]) -> TextColumn:
        """The column with these of its rows only."""
        return TextColumn(self._column, rows if self._rows is None else self._rows[rows])

    def head(self, count: int) -> TextColumn:
        """The first rows."""
        if count >= len(self):
            return self
        if self._rows is None:
            return TextColumn(self._column.slice(0, count))
        return TextColumn(self._column, self._rows[:count])

    @cached_property
    def identity(self) -> bytes:
        """A hash of the text, the same in every process. It may differ for equal text in tables of different layout."""
        total = hashlib.blake2b(digest_size=16)
        for part in self._column.chunks:
            total.update(f"{part.type} {part.offset} {len(part)} ".encode())
            for buffer in part.buffers():
                if buffer is not None:
                    total.update(hashlib.blake2b(buffer).digest())
        if self._rows is not None:
            total.update(b"rows" + self._rows.tobytes())
        return total.digest()

    def measured(self, name: str, measure: Callable[[str], int]) -> NDArray[np.int64]:
        """(N,) a number for each line, computed once for each text and kept in the cache.

        Args:
            name: of the number in the cache.
            measure: computes it from a line.
        """
        if self._rows is not None:
            every: NDArray[np.int64] = TextColumn(self._column).measured(name, measure)[self._rows]
            return every

        def make(folder: Path) -> None:
            np.save(folder / "numbers.npy", np.fromiter(map(measure, self), dtype=np.int64, count=len(self)))

        numbers: NDArray[np.int64] = np.load(
            cached("numbers", (self.identity, name), make) / "numbers.npy", mmap_mode="r"
        )
        return numbers


def measured(texts: Sequence[str], name: str, measure: Callable[[str], int]) -> NDArray[np.int64]:
    """As `TextColumn.measured`, for any text; only a column of a table is kept in the cache."""
    if isinstance(texts, TextColumn):
        return texts.measured(name, measure)
    return np.fromiter(map(measure, texts), dtype=np.int64, count=len(texts))


@dataclass(frozen=True)
class Reader:
    """Where a corpus comes from: `read` takes "train", "validation" or one of `tests`."""

    tests: list[str]
    read: Callable[[str], Columns]


def call_datasets(function: Callable[[], T], where: str | None = None) -> T:
    """Calls `datasets`, and turns what it raises into one line.

    Args:
        where: begins the line. Without it only our own code is called inside; what that raises is passed on.
    """
    try:
        return function()
    except Exception as error:
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__) is not None:
            causes.append(cause)
        for cause in causes:
            if isinstance(cause, S2SError):
                raise cause from None
        if isinstance(error, ConnectionError):
            raise S2SError(
                f"{where}: the hub cannot be reached, or it has no such data set: check name and network, or copy the "
                "data set into a folder and set data.path=FOLDER"
            ) from error
        kind = type(error).__name__
        if kind == "DatasetNotFoundError":
            raise S2SError(f"{where}: the hub has no such data set, or it is private: check the name") from error
        if isinstance(causes[-1], OSError) and (where is None or causes[-1].errno in _CACHE_ERRORS):
            import datasets  # type: ignore[import-untyped]

            raise S2SError(
                f"{where or 'data'}: {causes[-1]} (the cache of `datasets` is {datasets.config.HF_DATASETS_CACHE}; the "
                "environment variable HF_DATASETS_CACHE puts it elsewhere)"
            ) from error
        if where is None:
            raise causes[-1] from None
        lines = [line for cause in reversed(causes) for line in str(cause).splitlines() if line]
        raise S2SError(f"{where}: {lines[0] if lines else kind}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Local work takes seconds: no progress bars, and errors are told once, by us."""
    import datasets  # here, as translating works on plain text and must not wait for it

    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()

"""Columns of text in memory-mapped tables, and calling `datasets`, which makes the tables, with one-line errors."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import datasets  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

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
                texts: list[str] = self._column.slice(span.start, len(span)).to_pylist()
                return texts
            return [self[i] for i in span]
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
    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()

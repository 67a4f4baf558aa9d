"""Columns of text in memory-mapped tables, and calls of `datasets`, which makes the tables, with one-line errors."""

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
Columns = tuple["TextColumn", "TextColumn"]  # source, target; the same object if the text is of one language
Row = tuple[str, ...]  # the cells of a row that are read: source and target, or one sentence

SIDES = ("source", "target")  # columns of a cached table
CHUNK = 4096  # rows converted to strings at once
_CACHE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}  # the tables cannot be written


class TextColumn(Sequence[str]):
    """A column of strings in a memory-mapped table.

    Args:
        column: an Arrow column.
        rows: (N,) selected rows, in order; None: all.
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
                selection = self._column.slice(span.start, len(span))
            else:
                selection = self._column.take(np.asarray(span) if self._rows is None else self._rows[index])
            texts: list[str] = selection.to_pylist()
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
        """Returns the column restricted to `rows`."""
        return TextColumn(self._column, rows if self._rows is None else self._rows[rows])

    def head(self, count: int) -> TextColumn:
        """Returns the first `count` rows."""
        if count >= len(self):
            return self
        if self._rows is None:
            return TextColumn(self._column.slice(0, count))
        return TextColumn(self._column, self._rows[:count])

    @cached_property
    def identity(self) -> bytes:
        """A hash of the text, the same in every process. Equal text in tables of different layout may differ in it."""
        total = hashlib.blake2b(digest_size=16)
        for chunk in self._column.chunks:
            total.update(f"{chunk.type} {chunk.offset} {len(chunk)} ".encode())
            for buffer in chunk.buffers():
                if buffer is not None:
                    total.update(hashlib.blake2b(buffer).digest())
        if self._rows is not None:
            total.update(b"rows" + self._rows.tobytes())
        return total.digest()

    def line_values(self, name: str, function: Callable[[str], int]) -> NDArray[np.int64]:
        """(N,) value of a function for each line, computed once for each text and kept in the cache.

        Args:
            name: identifies the function in the cache.
            function: maps a line to its value.
        """
        if self._rows is not None:
            values: NDArray[np.int64] = TextColumn(self._column).line_values(name, function)[self._rows]
            return values

        def make(folder: Path) -> None:
            np.save(folder / "numbers.npy", np.fromiter(map(function, self), dtype=np.int64, count=len(self)))

        path = cached("numbers", (self.identity, name), make) / "numbers.npy"
        numbers: NDArray[np.int64] = np.load(path, mmap_mode="r")
        return numbers


def line_values(texts: Sequence[str], name: str, function: Callable[[str], int]) -> NDArray[np.int64]:
    """As `TextColumn.line_values`, for any text; only a column of a table is kept in the cache."""
    if isinstance(texts, TextColumn):
        return texts.line_values(name, function)
    return np.fromiter(map(function, texts), dtype=np.int64, count=len(texts))


@dataclass(frozen=True)
class Reader:
    """Source of a corpus: the names of its test sets, and `read` for "train", "validation" or one of them.

    `check` raises S2SError if local files are missing or do not begin with a row; other sources need no check.
    """

    tests: list[str]
    read: Callable[[str], Columns]
    check: Callable[[], None] = lambda: None


def call_datasets(function: Callable[[], T], where: str | None = None) -> T:
    """Calls `datasets` and converts its exceptions into one-line errors.

    Args:
        where: prefix of the error. None: `function` runs only our own code, whose exceptions are passed on.
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


def cached_table(generator: Callable[..., Iterator[Row]], arguments: dict[str, Any], sides: int = 2) -> Columns:
    """Returns the generator's rows from an Arrow file of the data cache, made once for these arguments.

    Args:
        sides: cells of each row: 2 for sentence pairs, 1 for text of one language.
    """
    import datasets

    names = SIDES[:sides]
    features = datasets.Features({name: datasets.Value("string") for name in names})
    with quiet():
        table = call_datasets(
            lambda: datasets.Dataset.from_generator(
                _rows, features=features, gen_kwargs={"generator": generator, "arguments": arguments}
            )
        )
    columns = [TextColumn(table.data.column(name)) for name in names]
    return columns[0], columns[-1]


def _rows(generator: Callable[..., Iterator[Row]], arguments: dict[str, Any]) -> Iterator[dict[str, str]]:
    for row in generator(**arguments):
        yield dict(zip(SIDES, row, strict=False))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences `datasets`: local work takes seconds and needs no progress bars, and s2s reports the errors."""
    import datasets  # a slow import, which translation does not need

    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()

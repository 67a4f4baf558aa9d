"""Text from files: parallel files line by line, one file of one language, or a table with a column for each side.

The readers yield rows of as many cells as columns are named: source and target of a sentence pair, or one sentence.
A cell is text whatever it looks like: `NA`, `null`, `007` and `1979-05-03` are words. TSV has no quotes, CSV
has those of RFC 4180. Bytes become lines by the rules of `s2s.data.reading`. An error names the file and the line.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from s2s.data.columns import Columns, Row, cached_table
from s2s.data.reading import check_characters, digest, file_lines
from s2s.errors import S2SError
from s2s.files import user_path

CACHE_VERSION = 2  # of the Arrow files of local text; raise it when reading changes

Layout = tuple[Path, ...]  # two parallel files; or the tables of a split (text of one language: or files of lines)


def find_files(where: str, suffixes: Sequence[str], key: str) -> Layout:
    """Returns the file or files of the setting `key`=`where`.

    Args:
        where: `FOLDER/train` for FOLDER/train.<source> and FOLDER/train.<target>, or a table, such as a .tsv file.
        suffixes: those of parallel files; none: `where` is one file of text, or a table.
        key: name of the setting in error messages.

    Raises:
        S2SError: a file is missing.
    """
    path = user_path(where)
    single = path.suffix in TABLES or not suffixes
    files = (path,) if single else tuple(Path(f"{path}.{suffix}") for suffix in suffixes)
    for file in files:
        if not file.is_file():
            names = " and ".join(file.name for file in files)
            what = "" if single else f" (it stands for {names}; {', '.join(TABLES)} files are read too)"
            raise S2SError(f"{key}={where}: there is no file {file}{what}")
    return files


def read_rows(files: Layout, columns: Row, named: bool = False) -> Iterator[Row]:
    """Yields the cells of `columns` line by line.

    Args:
        files: two parallel files, or tables, one after the other. For one column, files of lines count as tables.
        columns: names of the columns of a table; they may be keys of a `translation` column.
        named: a TSV must begin with a line of names; otherwise its first two columns, or its only one, are taken if it
            does not.

    Raises:
        S2SError: a file is malformed.
    """
    if len(columns) > 1 and files[0].suffix not in TABLES:
        return _parallel(files[0], files[1])
    return itertools.chain.from_iterable(TABLES.get(file.suffix, _lines)(file, columns, named) for file in files)


def check_files(files: Layout, columns: Row, where: str, named: bool = False) -> None:
    """Raises S2SError, which begins with `where`, if there is no line; or as `read_rows`."""
    if next(read_rows(files, columns, named), None) is None:
        raise S2SError(f"{where}: there are no {rows_name(len(columns))} in {files[0]}")


def table_of_files(files: Layout, columns: Row, where: str, named: bool = False) -> Columns:
    """The columns of `read_rows`, from the data cache, where their key is the content; raises as `check_files`."""
    check_files(files, columns, where, named)
    arguments = {
        "files": tuple(map(str, files)),  # `datasets` would take a list for shards
        "columns": columns,
        "named": named,
        "version": f"{CACHE_VERSION} {digest(files)}",
    }
    return cached_table(_read, arguments, len(columns))


def _read(files: tuple[str, ...], columns: Row, named: bool, version: str) -> Iterator[Row]:
    return read_rows(tuple(Path(file) for file in files), columns, named)


def _parallel(source: Path, target: Path) -> Iterator[Row]:
    source_lines, target_lines = file_lines(source), file_lines(target)
    for count, (left, right) in enumerate(itertools.zip_longest(source_lines, target_lines)):
        if left is None or right is None:
            more = 1 + sum(1 for _ in (source_lines if right is None else target_lines))
            counts = (count + more, count) if right is None else (count, count + more)
            raise S2SError(
                f"{source} has {counts[0]} lines and {target} has {counts[1]}: "
                "line n of one must translate line n of the other"
            )
        yield left, right


def _lines(path: Path, columns: Row, named: bool = True) -> Iterator[Row]:
    return ((line,) for line in file_lines(path))


def _tsv(path: Path, columns: Row, named: bool) -> Iterator[Row]:
    rows = ((number, line.split("\t")) for number, line in enumerate(file_lines(path), 1))
    return _cells(rows, path, columns, named, "tabs")


def _csv(path: Path, columns: Row, named: bool = True) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # a cell is as long as it is
    reader = csv.reader((f"{line}\n" for line in file_lines(path)), strict=True)
    try:
        yield from _cells(((reader.line_num, row) for row in reader if row), path, columns, True, "commas")
    except csv.Error as error:
        raise S2SError(f"{path}, line {reader.line_num}: not CSV ({error}): check its quotes") from error


def _cells(
    rows: Iterator[tuple[int, list[str]]], path: Path, columns: Row, named: bool, separator: str
) -> Iterator[Row]:
    """The cells of the columns; the first row may hold, and if `named` must hold, the names of the columns."""
    positions = list(range(len(columns)))
    for place, (number, cells) in enumerate(rows):
        # The first of several columns need not be that of the one language.
        named = named or (len(columns) == 1 and len(cells) > 1)
        if place == 0 and (named or {*columns} & {*cells}):
            if missing := sorted({*columns} - {*cells}):
                both = "both " if len(columns) > 1 else ""
                raise S2SError(
                    f"{path}, line {number}: the columns are called {', '.join(cells)}, none of them {missing[0]}: "
                    f"a line of names must have {both}{' and '.join(columns)}; {settings_of(columns)}"
                )
            positions = [cells.index(name) for name in columns]
            continue
        if len(cells) <= max(positions):
            count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
            raise S2SError(
                f"{path}, line {number}: {count} where at least {max(positions) + 1} are needed, "
                f"separated by {separator}"
            )
        yield tuple([cells[position] for position in positions])


def _jsonl(path: Path, columns: Row, named: bool = True) -> Iterator[Row]:
    for number, line in enumerate(file_lines(path), 1):
        if line.strip():
            where = f"{path}, line {number}"
            value = _parsed(line, f"{where}: not JSON", "each line must be one JSON object")
            yield _object(value, columns, where)


def _json(path: Path, columns: Row, named: bool = True) -> Iterator[Row]:
    """A JSON array of objects; or objects line by line, which many files of this name hold."""
    if not next((line for line in file_lines(path) if line.strip()), "").lstrip().startswith("["):
        yield from _jsonl(path, columns)
        return
    values = _parsed("\n".join(file_lines(path)), f"{path}: not JSON", "it must hold one array of objects")
    for number, value in enumerate(values, 1):
        yield _object(value, columns, f"{path}, item {number}")


def _parquet(path: Path, columns: Row, named: bool = True) -> Iterator[Row]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with pq.ParquetFile(path) as file:
            names = [column.path for column in file.schema]
            places = [name if name in names else f"translation.{name}" for name in columns]
            for name, place in zip(columns, places, strict=True):
                if place not in names:
                    known = ", ".join(one.removeprefix("translation.") for one in names)
                    raise S2SError(f"{path}: no column {name}; there are: {known}; {settings_of(columns)}")
            row = 0
            for batch in file.iter_batches(columns=list(dict.fromkeys(places))):
                table = pa.Table.from_batches([batch]).flatten()
                for cells in zip(*(table.column(place).to_pylist() for place in places), strict=True):
                    row += 1
                    yield tuple(
                        [_checked(cell, name, f"{path}, row {row}") for name, cell in zip(columns, cells, strict=True)]
                    )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise S2SError(f"{path} is not a readable Parquet file: {error}") from error


def _parsed(text: str, where: str, advice: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise S2SError(f"{where} ({error}): {advice}") from error


def _object(value: Any, columns: Row, where: str) -> Row:
    if not isinstance(value, dict):
        keys = ", ".join(f"{name!r}: …" for name in columns)
        raise S2SError(f"{where}: not a JSON object: it must look like {{{keys}}}")
    if isinstance(value.get("translation"), dict) and not {*columns} <= value.keys():
        value = value["translation"]
    if missing := [name for name in columns if name not in value]:
        known = ", ".join(map(str, value)) or "none"
        raise S2SError(f"{where}: no key {missing[0]!r}; there are: {known}; {settings_of(columns)}")
    return tuple([_checked(value[name], name, where) for name in columns])


def _checked(text: object, key: str, where: str) -> str:
    if not isinstance(text, str):
        raise S2SError(f"{where}: {key!r} is {json.dumps(text, default=str)[:40]}, not text: correct or remove it")
    check_characters(text, f"{where}: {key!r}")
    return text


def rows_name(sides: int) -> str:
    """The name of rows with so many cells in messages."""
    return "lines" if sides == 1 else "sentence pairs"


def settings_of(columns: Row) -> str:
    """The end of an error about columns: the settings that name them."""
    return "data.column names it" if len(columns) == 1 else "data.source and data.target name them"


TABLES: dict[str, Callable[[Path, Row, bool], Iterator[Row]]] = {
    ".tsv": _tsv,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}

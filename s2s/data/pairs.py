"""Parallel text from files: two files line by line, or a table with a column for each side.

A cell is text whatever it looks like: `NA`, `null`, `007` and `1979-05-03` are words. TSV has no quotes, CSV
has those of RFC 4180. Bytes become lines by the rules of `s2s.data.reading`. An error names the file and the line.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from s2s.data.columns import Columns, cached_table
from s2s.data.reading import check_characters, digest, file_lines
from s2s.errors import S2SError
from s2s.files import user_path

CACHE_VERSION = 2  # of the Arrow files of local text; raise it when reading changes

ADVICE = "; data.source and data.target name them"

Pair = tuple[str, str]
Layout = tuple[Path, ...]  # two parallel files, or the tables of a split, one after the other


def find_files(where: str, source: str, target: str, key: str) -> Layout:
    """Returns the file or files of the setting `key`=`where`.

    Args:
        where: `FOLDER/train` for FOLDER/train.<source> and FOLDER/train.<target>, or a table, such as a .tsv file.
        source, target: the suffixes.
        key: name of the setting in error messages.

    Raises:
        S2SError: a file is missing.
    """
    path = user_path(where)
    single = path.suffix in TABLES
    files = (path,) if single else (Path(f"{path}.{source}"), Path(f"{path}.{target}"))
    for file in files:
        if not file.is_file():
            names = " and ".join(file.name for file in files)
            what = "" if single else f" (it stands for {names}; {', '.join(TABLES)} files are read too)"
            raise S2SError(f"{key}={where}: there is no file {file}{what}")
    return files


def read_pairs(files: Layout, source: str, target: str, named: bool = False) -> Iterator[Pair]:
    """Yields (source, target) line by line.

    Args:
        files: parallel text, or tables.
        source, target: names of the columns of a table; they may be keys of a `translation` column.
        named: a TSV must begin with a line of names; otherwise its first two columns are taken if it does not.

    Raises:
        S2SError: a file is malformed.
    """
    if files[0].suffix not in TABLES:
        return _parallel(files[0], files[1])
    return itertools.chain.from_iterable(TABLES[file.suffix](file, source, target, named) for file in files)


def check_files(files: Layout, source: str, target: str, where: str, named: bool = False) -> None:
    """Raises S2SError, which begins with `where`, if there is no sentence pair; or as `read_pairs`."""
    if next(read_pairs(files, source, target, named), None) is None:
        raise S2SError(f"{where}: there are no sentence pairs in {files[0]}")


def table_of_files(files: Layout, source: str, target: str, where: str, named: bool = False) -> Columns:
    """The columns of `read_pairs`, from the data cache, where their key is the content; raises as `check_files`."""
    check_files(files, source, target, where, named)
    arguments = {
        "files": tuple(map(str, files)),  # `datasets` would take a list for shards
        "source": source,
        "target": target,
        "named": named,
        "version": f"{CACHE_VERSION} {digest(files)}",
    }
    return cached_table(_read, arguments)


def _read(files: tuple[str, ...], source: str, target: str, named: bool, version: str) -> Iterator[Pair]:
    return read_pairs(tuple(Path(file) for file in files), source, target, named)


def _parallel(source: Path, target: Path) -> Iterator[Pair]:
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


def _tsv(path: Path, source: str, target: str, named: bool) -> Iterator[Pair]:
    rows = ((number, line.split("\t")) for number, line in enumerate(file_lines(path), 1))
    return _cells(rows, path, source, target, named, "tabs")


def _csv(path: Path, source: str, target: str, named: bool = True) -> Iterator[Pair]:
    csv.field_size_limit(2**31 - 1)  # a cell is as long as it is
    reader = csv.reader((f"{line}\n" for line in file_lines(path)), strict=True)
    try:
        yield from _cells(((reader.line_num, row) for row in reader if row), path, source, target, True, "commas")
    except csv.Error as error:
        raise S2SError(f"{path}, line {reader.line_num}: not CSV ({error}): check its quotes") from error


def _cells(
    rows: Iterator[tuple[int, list[str]]], path: Path, source: str, target: str, named: bool, separator: str
) -> Iterator[Pair]:
    """Two cells of each row; the first row may hold, and if `named` must hold, the names of the columns."""
    first, second = 0, 1
    for place, (number, cells) in enumerate(rows):
        if place == 0 and (named or {source, target} & {*cells}):
            if missing := sorted({source, target} - {*cells}):
                raise S2SError(
                    f"{path}, line {number}: the columns are called {', '.join(cells)}, none of them {missing[0]}: "
                    f"a line of names must have both {source} and {target}{ADVICE}"
                )
            first, second = cells.index(source), cells.index(target)
            continue
        if len(cells) <= max(first, second):
            count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
            raise S2SError(
                f"{path}, line {number}: {count} where at least {max(first, second) + 1} are needed, "
                f"separated by {separator}"
            )
        yield cells[first], cells[second]


def _jsonl(path: Path, source: str, target: str, named: bool = True) -> Iterator[Pair]:
    for number, line in enumerate(file_lines(path), 1):
        if line.strip():
            where = f"{path}, line {number}"
            value = _parsed(line, f"{where}: not JSON", "each line must be one JSON object")
            yield _object(value, source, target, where)


def _json(path: Path, source: str, target: str, named: bool = True) -> Iterator[Pair]:
    """A JSON array of objects; or objects line by line, which many files of this name hold."""
    if not next((line for line in file_lines(path) if line.strip()), "").lstrip().startswith("["):
        yield from _jsonl(path, source, target)
        return
    values = _parsed("\n".join(file_lines(path)), f"{path}: not JSON", "it must hold one array of objects")
    for number, value in enumerate(values, 1):
        yield _object(value, source, target, f"{path}, item {number}")


def _parquet(path: Path, source: str, target: str, named: bool = True) -> Iterator[Pair]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with pq.ParquetFile(path) as file:
            names = [column.path for column in file.schema]
            columns = [name if name in names else f"translation.{name}" for name in (source, target)]
            for name, column in zip((source, target), columns, strict=True):
                if column not in names:
                    known = ", ".join(one.removeprefix("translation.") for one in names)
                    raise S2SError(f"{path}: no column {name}; there are: {known}{ADVICE}")
            row = 0
            for batch in file.iter_batches(columns=list(dict.fromkeys(columns))):
                table = pa.Table.from_batches([batch]).flatten()
                for left, right in zip(*(table.column(column).to_pylist() for column in columns), strict=True):
                    row += 1
                    where = f"{path}, row {row}"
                    yield _text({source: left}, source, where), _text({target: right}, target, where)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise S2SError(f"{path} is not a readable Parquet file: {error}") from error


def _parsed(text: str, where: str, advice: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise S2SError(f"{where} ({error}): {advice}") from error


def _object(value: Any, source: str, target: str, where: str) -> Pair:
    if not isinstance(value, dict):
        raise S2SError(f"{where}: not a JSON object: it must look like {{{source!r}: …, {target!r}: …}}")
    if isinstance(value.get("translation"), dict) and not (source in value and target in value):
        value = value["translation"]
    return _text(value, source, where), _text(value, target, where)


def _text(value: dict[str, object], key: str, where: str) -> str:
    if key not in value:
        raise S2SError(f"{where}: no key {key!r}; there are: {', '.join(map(str, value)) or 'none'}{ADVICE}")
    text = value[key]
    if not isinstance(text, str):
        raise S2SError(f"{where}: {key!r} is {json.dumps(text, default=str)[:40]}, not text: correct or remove it")
    check_characters(text, f"{where}: {key!r}")
    return text


TABLES: dict[str, Callable[[Path, str, str, bool], Iterator[Pair]]] = {
    ".tsv": _tsv,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}

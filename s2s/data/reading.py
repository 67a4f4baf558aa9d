"""Lines of text from streams, and parallel text from local files: two files line by line, a TSV, or a JSONL file.

Text is UTF-8; a byte order mark at its start is dropped. A line ends at "\\n" or "\\r\\n" and nowhere else: form feeds,
U+2028 and the like stay inside their line, as in other tools of machine translation, so that two files stay aligned.
TSV has no quotes. An error names the file and the line.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from s2s.errors import S2SError

Pair = tuple[str, str]
Layout = tuple[Path, ...]  # two parallel files, or one .tsv or .jsonl


def find_files(where: str, source: str, target: str, key: str) -> Layout:
    """Returns the file or files of the setting `key`=`where`.

    Args:
        where: `FOLDER/train` for FOLDER/train.<source> and FOLDER/train.<target>, or a .tsv or .jsonl file.
        source, target: the suffixes.
        key: name of the setting in error messages.

    Raises:
        S2SError: a file is missing.
    """
    path = Path(where).expanduser()
    single = path.suffix in (".tsv", ".jsonl")
    files = (path,) if single else (Path(f"{path}.{source}"), Path(f"{path}.{target}"))
    for file in files:
        if not file.is_file():
            names = " and ".join(file.name for file in files)
            what = "" if single else f" (it stands for {names}; .tsv and .jsonl files are read too)"
            raise S2SError(f"{key}={where}: there is no file {file}{what}")
    return files


def read_pairs(files: Layout, source: str, target: str) -> Iterator[Pair]:
    """Yields (source, target) line by line.

    Args:
        files: from `find_files`.
        source, target: names of the columns in TSV and JSONL.

    Raises:
        S2SError: a file is malformed.
    """
    if len(files) == 2:
        return _parallel(files[0], files[1])
    return (_tsv if files[0].suffix == ".tsv" else _jsonl)(files[0], source, target)


def digest(files: Sequence[Path]) -> str:
    """Returns a hash of the contents of files."""
    total = hashlib.sha256()
    for file in files:
        part = hashlib.sha256()
        try:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    part.update(block)
        except OSError as error:
            raise S2SError(f"cannot read {file}: {error.strerror}") from error
        total.update(part.digest())
    return total.hexdigest()


def read_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """Yields the lines of UTF-8 text without their ends and without a byte order mark at the start; reads lazily.

    Args:
        stream: binary.
        name: of the stream, in error messages.

    Raises:
        S2SError: a line is not UTF-8; names the line.
    """
    for number, line in enumerate(stream, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise S2SError(
                f"{name}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1}): "
                "convert it first"
            ) from error
        text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
        yield text.removeprefix("\ufeff") if number == 1 else text


def _file_lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            yield from read_lines(stream, str(path))
    except OSError as error:
        raise S2SError(f"cannot read {path}: {error.strerror}") from error


def _parallel(source: Path, target: Path) -> Iterator[Pair]:
    source_lines, target_lines = _file_lines(source), _file_lines(target)
    for count, (left, right) in enumerate(itertools.zip_longest(source_lines, target_lines)):
        if left is None or right is None:
            more = 1 + sum(1 for _ in (source_lines if right is None else target_lines))
            counts = (count + more, count) if right is None else (count, count + more)
            raise S2SError(
                f"{source} has {counts[0]} lines and {target} has {counts[1]}: "
                "line n of one must translate line n of the other"
            )
        yield left, right


def _tsv(path: Path, source: str, target: str) -> Iterator[Pair]:
    first, second = 0, 1
    for number, line in enumerate(_file_lines(path), 1):
        columns = line.split("\t")
        if number == 1 and {source, target} & {*columns}:
            if missing := {source, target} - {*columns}:
                raise S2SError(
                    f"{path}, line 1: the columns are called {', '.join(columns)}, none of them {missing.pop()}: "
                    f"a line of names must have both {source} and {target}"
                )
            first, second = columns.index(source), columns.index(target)
            continue
        if len(columns) <= max(first, second):
            count = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
            raise S2SError(
                f"{path}, line {number}: {count} where at least {max(first, second) + 1} are needed, separated by tabs"
            )
        yield columns[first], columns[second]


def _jsonl(path: Path, source: str, target: str) -> Iterator[Pair]:
    for number, line in enumerate(_file_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise S2SError(f"{where}: not JSON ({error}): each line must be one JSON object") from error
        if not isinstance(value, dict):
            raise S2SError(f"{where}: not a JSON object: a line looks like {{{source!r}: …, {target!r}: …}}")
        if isinstance(value.get("translation"), dict) and not (source in value and target in value):
            value = value["translation"]
        yield _text(value, source, where), _text(value, target, where)


def _text(value: dict[str, object], key: str, where: str) -> str:
    if key not in value:
        raise S2SError(f"{where}: no key {key!r}; there are: {', '.join(map(str, value)) or 'none'}")
    text = value[key]
    if not isinstance(text, str):
        raise S2SError(f"{where}: {key!r} is {json.dumps(text)[:40]}, not text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise S2SError(f"{where}: {key!r} holds half of a surrogate pair, which is no character") from error
    return text

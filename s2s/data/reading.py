"""Parallel text from local files: two files line by line, a TSV, or a JSONL file.

Files are UTF-8, with or without a byte order mark. A line ends at "\\n" or "\\r\\n" and nowhere else: form feeds,
U+2028 and the like stay inside their line, as in other tools of machine translation, so that two files never lose step.
TSV knows no quotes. Whatever cannot be read is an error that names file and line.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from s2s.errors import S2SError

Pair = tuple[str, str]
Layout = tuple[Path, ...]  # two parallel files, or one .tsv or .jsonl

_BOM = b"\xef\xbb\xbf"


def find_files(where: str, source: str, target: str, key: str) -> Layout:
    """The file or files that `where` stands for.

    Args:
        where: `FOLDER/train` for FOLDER/train.<source> and FOLDER/train.<target>, or a .tsv or .jsonl file.
        source, target: the suffixes.
        key: names the setting in error messages.

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
        S2SError: with file and line, for anything that is not as it should be.
    """
    if len(files) == 2:
        return _parallel(files[0], files[1])
    return (_tsv if files[0].suffix == ".tsv" else _jsonl)(files[0], source, target)


def digest(files: Sequence[Path]) -> str:
    """A hash of the contents of files."""
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


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file without their ends; only "\\n" and "\\r\\n" end one.

    Raises:
        S2SError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if number == 1:
                    line = line.removeprefix(_BOM)
                if line.endswith(b"\n"):
                    line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
                try:
                    yield line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise S2SError(
                        f"{path}, line {number}: not UTF-8 (byte {error.start + 1} of the line): convert the file"
                    ) from error
    except OSError as error:
        raise S2SError(f"cannot read {path}: {error.strerror}") from error


def _parallel(source: Path, target: Path) -> Iterator[Pair]:
    ours, theirs = read_lines(source), read_lines(target)
    for count, (left, right) in enumerate(itertools.zip_longest(ours, theirs)):
        if left is None or right is None:
            more = 1 + sum(1 for _ in (ours if right is None else theirs))
            counts = (count + more, count) if right is None else (count, count + more)
            raise S2SError(
                f"{source} has {counts[0]} lines and {target} has {counts[1]}: "
                "line n of one must translate line n of the other"
            )
        yield left, right


def _tsv(path: Path, source: str, target: str) -> Iterator[Pair]:
    first, second = 0, 1
    for number, line in enumerate(read_lines(path), 1):
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
            raise S2SError(
                f"{path}, line {number}: {_count(len(columns), 'column')} where at least {max(first, second) + 1} are "
                "needed, separated by tabs"
            )
        yield columns[first], columns[second]


def _jsonl(path: Path, source: str, target: str) -> Iterator[Pair]:
    for number, line in enumerate(read_lines(path), 1):
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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

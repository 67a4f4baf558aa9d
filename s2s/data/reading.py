"""Lines of text from streams and files, by one rule for every input.

Text is UTF-8; a byte order mark at its start is dropped. A line ends at "\\n" or "\\r\\n" and nowhere else: form feeds,
U+2028 and the like stay inside their line, as in other tools of machine translation, so that two files stay aligned.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import select
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from s2s.errors import S2SError

SILENCE = 0.05  # seconds without a new line after which a group of a pipe's lines is complete …
LONGEST_WAIT = 0.5  # … and since its first line


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
        S2SError: it cannot be read, or a line is not UTF-8; names the line.
    """
    try:
        for number, line in enumerate(stream, 1):
            yield decode_line(line, number, name)
    except OSError as error:
        raise S2SError(f"cannot read {name}: {error.strerror or error}") from error


def decode_line(line: bytes, number: int, name: str) -> str:
    """The text of a line, which counts from 1; see `read_lines`."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise S2SError(
            f"{name}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1}): "
            "convert it first"
        ) from error
    text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    return text.removeprefix("\ufeff") if number == 1 else text


def check_characters(text: str, where: str) -> None:
    """Raises S2SError for half of a surrogate pair, which JSON and Python can hold and no file of text can."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise S2SError(f"{where} holds half of a surrogate pair, which is no character") from error


def arrived_lines(stream: IO[bytes], name: str, most: int) -> Iterator[list[str]]:
    """Yields the lines of a pipe in groups: all that have arrived, at most `most`, and never a group without a line.

    A producer that waits for answers gets them, and one that writes a file of lines fills whole groups. A stream that
    is no pipe, and one on a system that cannot watch pipes, is read in groups of `most` lines.

    Raises:
        S2SError: as `read_lines`; lines before the error are yielded first.
    """
    try:
        number, watched = stream.fileno(), os.name == "posix"
        mode = os.fstat(number).st_mode
    except (OSError, ValueError):  # no file of the system
        watched, mode = False, 0
    if not watched or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        lines = read_lines(stream, name)
        yield from iter(lambda: list(itertools.islice(lines, most)), [])
        return
    lines_so_far, arrived, rest, ended = 0, list[bytes](), b"", False
    while arrived or not ended:
        until = math.inf if not arrived else time.monotonic() + LONGEST_WAIT
        while len(arrived) < most and not ended and (now := time.monotonic()) < until:
            wait = min(SILENCE, until - now) if arrived else None
            if not select.select([number], [], [], wait)[0]:
                break
            try:
                block = os.read(number, 1 << 16)
            except OSError as error:
                raise S2SError(f"cannot read {name}: {error.strerror or error}") from error
            *complete, rest = (rest + block).split(b"\n")
            if not arrived and complete:
                until = time.monotonic() + LONGEST_WAIT
            arrived += [line + b"\n" for line in complete]
            if not block:
                ended, rest, arrived = True, b"", arrived + ([rest] if rest else [])
        group, arrived = arrived[:most], arrived[most:]
        yield from _decoded(group, lines_so_far, name)
        lines_so_far += len(group)


def _decoded(lines: list[bytes], before: int, name: str) -> Iterator[list[str]]:
    """The texts of lines; those before a line that is not UTF-8 are yielded before its error is raised."""
    texts: list[str] = []
    for number, line in enumerate(lines, before + 1):
        try:
            texts.append(decode_line(line, number, name))
        except S2SError:
            if texts:
                yield texts
            raise
    if texts:
        yield texts


def file_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file; raises as `read_lines`."""
    try:
        with path.open("rb") as stream:
            yield from read_lines(stream, str(path))
    except OSError as error:
        raise S2SError(f"cannot read {path}: {error.strerror}") from error

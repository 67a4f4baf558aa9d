"""Lines of text from streams and files, by one rule for every input.

Text is UTF-8; a byte order mark at its start is dropped. A line ends at "\\n" or "\\r\\n" and nowhere else: form feeds,
U+2028 and the like stay inside their line, as in other tools of machine translation, so that two files stay aligned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from s2s.errors import S2SError


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


def file_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file; raises as `read_lines`."""
    try:
        with path.open("rb") as stream:
            yield from read_lines(stream, str(path))
    except OSError as error:
        raise S2SError(f"cannot read {path}: {error.strerror}") from error

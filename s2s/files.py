"""Atomic file writes: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from s2s.errors import S2SError


@contextmanager
def atomic_write(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Context manager: a temporary file that replaces `path` at the end; after an error `path` is unchanged.

    Raises:
        S2SError: the file cannot be written (no space, no permission …).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        binary = mode == "wb"
        with temporary.open(mode, encoding=None if binary else "utf-8", newline=None if binary else "\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> S2SError:
    """Returns the error for a file that could not be written."""
    return S2SError(
        f"cannot write {path}: {error.strerror or error}; free space or choose another place, nothing was overwritten"
    )


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented UTF-8 JSON."""
    with atomic_write(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        S2SError: the file is missing, truncated or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise S2SError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise S2SError(f"{path} is not readable JSON ({error}); it may be truncated: make it again") from error

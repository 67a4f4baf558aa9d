"""Files that users name: paths, outputs, and atomic writes by a temporary file beside the target, fsync and rename."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from s2s.errors import S2SError


def user_path(text: str | Path) -> Path:
    """The path that a user named; `~` stands for the home folder everywhere.

    Raises:
        S2SError: the text is no path (empty, too long, with a NUL character, of an unknown user).
    """
    try:
        path = Path(text).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise S2SError(f"cannot use {str(text)!r} as a path: {reason}; choose another") from error
    if not str(text):
        raise S2SError("cannot use an empty text as a path: name a file or folder")
    return path


@contextmanager
def atomic_write(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Context manager: a temporary file that replaces `path` at the end; after an error `path` is unchanged.

    A symbolic link stays, and the file that it points to is replaced; the new file has the mode of the old one.

    Raises:
        S2SError: the file cannot be written (no space, no permission, it is a folder …).
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}.tmp")
    binary = mode == "wb"
    try:
        permissions = _permissions(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open(mode, encoding=None if binary else "utf-8", newline=None if binary else "\n") as file:
            if permissions is not None:
                temporary.chmod(permissions)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # also where the folder itself is a file
            temporary.unlink(missing_ok=True)


def _permissions(target: Path) -> int | None:
    """The permissions of a file about to be replaced, None where there is none; raises OSError where it may not be."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    return stat.S_IMODE(mode)


def is_stream(path: Path) -> bool:
    """Whether a path names an existing pipe, device or socket, which is read and written as it is."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _is_stdout(path: Path) -> bool:
    """Whether a path (`/dev/stdout`) is where stdout goes: then what stands there already stays."""
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


@contextmanager
def open_output(path: Path) -> Iterator[IO[bytes]]:
    """Context manager: the binary output that a user named: as `atomic_write`, or an existing pipe or device itself.

    Raises:
        S2SError: as `atomic_write`.
    """
    if _is_stdout(path):
        with open_stdout() as stream:
            yield stream
        return
    if not is_stream(path):
        with atomic_write(path, "wb") as file:
            yield file
        return
    with _written(str(path)), path.open("wb") as stream:
        yield stream


@contextmanager
def open_stdout() -> Iterator[IO[bytes]]:
    """Context manager: stdout as a binary stream, flushed at the end.

    Raises:
        S2SError: it is closed, or cannot be written (no space).
    """
    if sys.stdout is None:  # Python's sign for a closed one
        raise S2SError("cannot write stdout: it is closed; redirect it to a file or name one")
    with _written("stdout"):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


@contextmanager
def _written(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader has enough: no error
        raise
    except OSError as error:
        raise S2SError(f"cannot write {name}: {error.strerror or error}") from error


def print_text(text: str) -> None:
    """Writes text to stdout at once; raises as `open_stdout`."""
    with open_stdout() as stream:
        stream.write(text.encode("utf-8"))


def check_output(path: Path) -> None:
    """Checks, before hours of work, that `open_output` can write a file.

    Raises:
        S2SError: it is a folder, below a file, read-only, or its folder cannot be written.
    """
    if is_stream(path) or _is_stdout(path):
        return
    target = Path(os.path.realpath(path))
    try:
        _permissions(target)
        folder = next(parent for parent in target.parents if parent.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{folder} cannot be written")
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> S2SError:
    """Returns the error for a file that could not be written."""
    return S2SError(
        f"cannot write {path}: {error.strerror or error}; free space or choose another place, nothing was overwritten"
    )


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented UTF-8 JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    with open_output(path) as file:
        file.write(text.encode("utf-8"))


def check_regular(path: Path) -> None:
    """Raises S2SError for a pipe or device where a file of a run should be: reading it would wait for ever."""
    if is_stream(path):
        raise S2SError(f"{path} is not a regular file")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file with a JSON object on each line; raises as `read_json`."""
    check_regular(path)
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise S2SError(f"{path} is not readable JSON ({error}); it may be damaged") from error
    if not all(isinstance(row, dict) for row in rows):
        raise S2SError(f"{path} must hold one JSON object on each line")
    return rows


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        S2SError: the file is missing, truncated or not JSON.
    """
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise S2SError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise S2SError(f"{path} is not readable JSON ({error}); it may be truncated: make it again") from error

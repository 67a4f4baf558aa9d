"""Files appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from s2s.errors import S2SError
from s2s.files import atomic_write, read_json, write_json


def _fail(path: Path, error: Exception) -> None:
    with atomic_write(path) as file:
        file.write("half")
        raise error


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("precious")
    with pytest.raises(ZeroDivisionError):
        _fail(path, ZeroDivisionError())
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("precious")
    with pytest.raises(S2SError, match=r"cannot write .*file\.txt: No space left on device; free space"):
        _fail(path, OSError(errno.ENOSPC, "No space left on device"))
    assert path.read_text() == "precious"


def test_json_round_trip_and_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "new" / "values.json"
    write_json(path, {"größe": [1, 2.5, None]})
    assert read_json(path) == {"größe": [1, 2.5, None]}
    assert "größe" in path.read_text(encoding="utf-8")
    path.write_text('{"cut": ')
    for bad in (path, tmp_path / "missing.json"):
        with pytest.raises(S2SError, match=bad.name):
            read_json(bad)

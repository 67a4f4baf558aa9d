"""Anything for input: whatever comes, there is a result or one error of one line, and no other file is touched.

These are some cases of each kind. Ten thousand of each:

    pytest tests/commands/test_fuzz.py --hypothesis-profile=fuzz
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import s2s
from s2s.commands import compare_report
from s2s.commands.console import compose_values, one_line
from s2s.commands.run_names import default_run_dir
from s2s.commands.train import run_config, train_run
from s2s.config import RunConfig, parse
from s2s.data.pairs import read_rows
from s2s.data.reading import arrived_lines, read_lines
from s2s.decoding.output import write_translations
from s2s.errors import S2SError
from s2s.training.checkpoint import RunDirectory

CASES = settings.get_profile("fuzz").max_examples if settings.get_current_profile_name() == "fuzz" else 40
fuzz = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a case of seconds takes hours
)
SECONDS = 60  # a case takes far less than a second


@contextmanager
def one_error() -> Iterator[list[str]]:
    """A result, or an error of one line, within a minute; yields the list that the error goes to."""

    def hang(*_: object) -> None:
        raise AssertionError("this takes too long")

    errors: list[str] = []
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        yield errors
    except (S2SError, HydraException, OmegaConfBaseException) as error:
        errors.append(one_line(error))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert all(error and "\n" not in error for error in errors)


def tree(folder: Path) -> dict[str, str]:
    """The contents of all files below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# ---------------------------------------------------------------------------------------------------------------- text

PIECES = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b"\t", b",", b'"', b"\xef\xbb\xbf", b"\xff", b"\x00", b"\xe2\x80\xa8", b"\x85", b"\x0c",
     "ä".encode(), b"word", b"NA", b"en", b"de", b"{", b"}", b"[", b":", b'{"en": "a", "de": "b"}', b'"en"', b"null",
     b'"translation"', b"\\", b"\\ud800", b"1e999", b" "]
)  # fmt: skip
BYTES = st.binary(max_size=200) | st.lists(PIECES, max_size=40).map(b"".join)


@fuzz
@given(BYTES, st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 5))
def test_lines_of_any_bytes(data: bytes, sizes: list[int], most: int) -> None:
    """A line for each line end, from a file and from a pipe that delivers pieces."""
    expected = data.removesuffix(b"\n").split(b"\n") if data else []
    lines: list[str] = []
    with one_error() as errors:
        for line in read_lines(io.BytesIO(data), "file"):
            lines.append(line)
    if not errors:
        text = [line.removesuffix(b"\r") if n < data.count(b"\n") else line for n, line in enumerate(expected)]
        mark = b"\xef\xbb\xbf"
        assert [line.encode() for line in lines] == [
            line.removeprefix(mark) if n == 0 else line for n, line in enumerate(text)
        ]
    reader, writer = os.pipe()

    def write() -> None:
        with (
            suppress(BrokenPipeError),
            os.fdopen(writer, "wb", buffering=0) as stream,
        ):  # the reader may stop at an error
            rest = data
            while rest:
                size = sizes[len(rest) % len(sizes)]
                stream.write(rest[:size])
                rest = rest[size:]

    thread = threading.Thread(target=write)
    thread.start()
    groups: list[list[str]] = []
    with one_error() as others, os.fdopen(reader, "rb") as stream:
        for group in arrived_lines(stream, "file", most):
            groups.append(group)
        assert stream.read() == b""
    thread.join()
    assert others == errors
    assert [line for group in groups for line in group] == lines
    assert all(0 < len(group) <= most for group in groups)


@fuzz
@given(BYTES, st.sampled_from(["tsv", "csv", "jsonl", "json", "parquet"]), st.booleans())
def test_tables_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str, named: bool) -> None:
    path = _folder(tmp_path_factory) / f"t.{suffix}"
    path.write_bytes(data)
    pairs: list[Any] = []
    with one_error() as errors:
        pairs = list(read_rows((path,), ("en", "de"), named))
    assert all(isinstance(text, str) and text.encode() is not None for pair in pairs for text in pair)
    if not errors and suffix == "tsv":
        lines = len(data.removesuffix(b"\n").split(b"\n")) if data else 0
        assert lines - 1 <= len(pairs) <= lines
    assert path.read_bytes() == data


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\ufeff"), max_size=8)


@fuzz
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.data())
def test_a_broken_line_is_named_or_read(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], data: Any
) -> None:
    """JSON lines of which one is damaged: all pairs, or an error that names this line or one after it."""
    lines = [json.dumps({"en": a, "de": b}).encode() for a, b in pairs]
    row = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[row])))
    lines[row] = lines[row][:place] + data.draw(st.binary(max_size=3)) + lines[row][place + 1 :]
    path = _folder(tmp_path_factory) / "t.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    with one_error() as errors:
        found = list(read_rows((path,), ("en", "de")))
        assert len(found) >= len(pairs) - 1
        assert [pair for n, pair in enumerate(pairs) if n < row] == found[:row]
    assert all("line" in error for error in errors)


_FOLDERS: dict[str, Path] = {}


def _folder(factory: pytest.TempPathFactory) -> Path:
    """One folder for all cases of a test: making ten thousand takes longer than the test."""
    return _FOLDERS.setdefault("text", factory.mktemp("fuzz"))


# ------------------------------------------------------------------------------------------------------- configuration

_CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(scope="module")
def keys() -> list[str]:
    def flat(values: Any, prefix: str = "") -> Iterator[str]:
        for key, value in values.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")

    with initialize_config_dir(str(_CONF), version_base="1.3"):
        found: list[str] = []
        for model in ("lstm_attention", "transformer"):
            for data in ("grammar", "files"):
                config = compose("train", [f"model={model}", f"data={data}"])
                found += flat(OmegaConf.to_container(config, resolve=False))
    return sorted(set(found))


VALUES = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(
        ["null", "true", "nan", "inf", "-1", "0", "[]", "[1,2]", "{}", "{a:1}", "[null]", "???", "''", "1e-3", "lstm",
         "my.Cell", ".", "..", "a..b", "${seed}", "${nothing}", "[[1]]", "{type:lstm}", "adam", "grammar", "x" * 300]
    ),
)  # fmt: skip


@fuzz
@given(st.data())
def test_any_overrides(keys: list[str], data: Any) -> None:
    """A checked configuration, which survives being written and read, or one line."""
    override = st.tuples(
        st.sampled_from(["", "", "", "", "+", "++", "~"]), st.sampled_from(keys) | st.text(max_size=5), VALUES
    )
    typed = [f"{sign}{key}={value}" for sign, key, value in data.draw(st.lists(override, min_size=1, max_size=3))]
    with one_error() as errors, initialize_config_dir(str(_CONF), version_base="1.3"):
        values = compose_values("train", typed)
        values.pop("run_dir", None)
        checked = run_config(values)
        assert isinstance(checked, RunConfig)
        saved = OmegaConf.to_yaml(OmegaConf.create(checked.to_dict()))
        again = OmegaConf.to_container(OmegaConf.create(saved), resolve=False)
        assert parse(again) == checked  # type: ignore[arg-type]
        assert default_run_dir(checked.to_dict(), typed).parts[0] == "runs"
    assert all("Traceback" not in error for error in errors)


# ------------------------------------------------------------------------------------------------------ run directories


@pytest.fixture(scope="module")
def scratch(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A whole run, and a folder for a damaged copy of it."""
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(trained, folder / "whole")
    run = s2s.load(folder / "whole", "cpu")
    compare_report.evaluated(run, *compare_report.test_set(run))
    return folder / "whole", folder / "copy"


@fuzz
@given(st.data())
def test_a_run_of_which_any_file_is_damaged(scratch: tuple[Path, Path], data: Any) -> None:
    whole, copy = scratch
    _damaged_copy(whole, copy, data)
    before = tree(copy)
    with one_error():
        run = s2s.load(copy, "cpu")
        assert len(run.translate(["The dog sleeps.", ""])) == 2
        run.attention("The dog sleeps.", "Der Hund schläft.")
    assert tree(copy) == before  # reading writes nothing


@settings(fuzz, max_examples=-(-CASES // 10))
@given(st.data())
def test_evaluating_and_resuming_a_damaged_run(scratch: tuple[Path, Path], data: Any) -> None:
    """The files of other runs are not touched either."""
    whole, copy = scratch
    _damaged_copy(whole, copy, data)
    before = tree(whole)
    with one_error():
        run = s2s.load(copy, "cpu")
        compare_report.evaluated(run, *compare_report.test_set(run))
    with one_error():
        train_run(s2s.load(whole, "cpu").config, RunDirectory(copy))
    assert tree(whole) == before


def _damaged_copy(whole: Path, copy: Path, data: Any) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    files = sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file() and path.name != "lock")
    for name in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=2, unique=True)):
        _damage(copy / name, data)


def _damage(path: Path, data: Any) -> None:
    content = path.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "change", "replace", "remove", "folder", "empty", "append"]))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "cut":
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    elif kind == "change" and content:
        place = data.draw(st.integers(0, len(content) - 1))
        path.write_bytes(content[:place] + data.draw(st.binary(min_size=1, max_size=4)) + content[place + 1 :])
    elif kind == "append":
        path.write_bytes(content + data.draw(BYTES))
    elif kind != "remove":
        path.write_bytes(data.draw(BYTES) if kind == "replace" else b"")


# -------------------------------------------------------------------------------------------------- lines to translate


@pytest.fixture(scope="module")
def run(trained: Path) -> s2s.runs.Run:
    return s2s.load(trained, "cpu")


ANY_LINE = st.text(max_size=20) | st.sampled_from(
    [None, 3, float("nan"), b"x", ["a"], "\ud800", "dog " * 60, "\u2028", "▁"]
)


@fuzz
@given(st.lists(ANY_LINE, max_size=4), st.sampled_from(["text", "tsv", "json"]))
def test_any_lines(run: s2s.runs.Run, lines: list[Any], form: Any) -> None:
    """As many lines as went in, and each is one line; or an error that says which is none."""
    sink = io.BytesIO()
    with one_error() as errors:
        write_translations(run.translator(max_ratio=0.5, max_extra=3).translations(lines), sink, form)
        rows = sink.getvalue().decode().split("\n")
        assert rows.pop() == ""
        assert len(rows) == len(lines)
        assert all(isinstance(line, str) for line in lines)
        if form == "json":
            assert [json.loads(row)["source"] for row in rows] == lines
    assert all("line " in error for error in errors)
    with one_error():
        scores = run.score(lines, lines[::-1])
        assert len(scores) == len(lines)
    for line in lines[:1]:
        with one_error():
            run.attention(line, line)

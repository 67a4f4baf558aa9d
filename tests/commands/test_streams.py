"""Outputs, inputs and pipes as users have them: nothing is lost, and nothing is replaced unasked."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Done, hear_interrupts

LINE = b"The dog sleeps.\n"


def test_a_link_a_pipe_and_a_mode_stay(trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    translate = ("translate", f"run={trained}")
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    assert inside(*translate, "output=link", cwd=tmp_path, stdin=LINE).code == 0
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600
    assert (tmp_path / "real").read_bytes().count(b"\n") == 1
    os.mkfifo(tmp_path / "pipe")
    arrived: list[bytes] = []
    reader = threading.Thread(target=lambda: arrived.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert inside(*translate, "output=pipe", cwd=tmp_path, stdin=LINE).code == 0
    reader.join(10)
    assert arrived == [(tmp_path / "real").read_bytes()]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("output", [".", "folder", "file/below", "/dev/full", "folder/../folder", "read-only"])
def test_an_output_that_cannot_be_is_found_first(
    output: str, trained: Path, inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("precious")
    (tmp_path / "read-only").write_text("precious")
    monkeypatch.setattr(os, "access", lambda path, mode, **more: "read-only" not in str(path))  # root may write all
    before = sorted(path.name for path in tmp_path.iterdir())
    done = inside("translate", f"run={trained}", f"output={output}", cwd=tmp_path, stdin=LINE)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "cannot write" in done.errors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == (tmp_path / "read-only").read_text() == "precious"


@pytest.mark.parametrize("path", ["./missing.txt", "missing/../x", ".", "./././missing", "a\0b"])
def test_an_input_that_is_not_there(path: str, copied: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    for option in (["input"], ["input=in.txt", "reference"]):
        (tmp_path / "in.txt").write_bytes(LINE)
        done = inside("translate", f"run={copied}", *option[:-1], f"{option[-1]}={path}", cwd=tmp_path)
        assert (done.code, len(done.errors)) == (2, 1), done.stderr
    done = inside("evaluate", f"run={copied}", "source=in.txt", f"reference={path}", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr


def test_a_byte_order_mark_is_no_part_of_a_sentence(copied: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    plain = inside("translate", f"run={copied}", cwd=tmp_path, stdin=LINE)
    for name, mark in (("plain", b""), ("marked", b"\xef\xbb\xbf")):
        (tmp_path / name).write_bytes(mark + LINE)
        assert inside("translate", f"run={copied}", f"input={name}", cwd=tmp_path).output == plain.output
        assert inside("translate", f"run={copied}", cwd=tmp_path, stdin=mark + LINE).output == plain.output
    one, two = (
        inside("evaluate", f"run={copied}", f"source={name}", f"reference={name}", cwd=tmp_path).stdout.split("\n", 1)[
            1
        ]
        for name in ("plain", "marked")
    )
    assert one == two


@pytest.mark.slow  # starts many processes
def test_streams_that_are_closed_or_full(
    trained: Path, environment: dict[str, str], root: Path, tmp_path: Path
) -> None:
    """Three shells at once: starting takes the time."""
    script = f"{sys.executable} {root / 'scripts' / 'translate.py'} run={trained}"
    (tmp_path / "in").write_bytes(LINE)
    shells = {
        f"{script} input=in > /dev/full": "cannot write stdout: No space left on device",
        f"{script} <&-": "cannot read stdin: it is closed",
        f"{script} input=in >&-": "cannot write stdout: it is closed",
    }
    started = {
        line: subprocess.Popen(["bash", "-c", line], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for line in shells
    }
    for line, process in started.items():
        errors = process.communicate(timeout=120)[1].splitlines()
        assert process.returncode == 2, line
        assert [shells[line] in error for error in errors] == [True], errors


def test_a_line_that_is_there_is_translated(
    trained: Path, environment: dict[str, str], root: Path, tmp_path: Path
) -> None:
    """A co-process: each answer is awaited before the next line is written."""
    command = [sys.executable, str(root / "scripts" / "translate.py"), f"run={trained}"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(100, process.kill)
        timer.start()
        for _ in range(2):
            process.stdin.write(LINE)
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\n")
        process.stdin.write(b"no end of line")
        process.stdin.close()
        assert process.stdout.read().count(b"\n") == 1
        assert process.wait() == 0
        timer.cancel()


@pytest.mark.slow
def test_own_files_have_results_of_their_own(copied: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    assert inside("evaluate", f"run={copied}", cwd=tmp_path).code == 0
    before = (copied / "evaluation" / "test.json").read_bytes()
    for folder, text in (("a", "The dog sleeps.\n"), ("b", "The cat sleeps.\n")):
        for name in ("test", "reference"):
            path = tmp_path / folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        files = (f"source={folder}/test", f"reference={folder}/reference")
        assert inside("evaluate", f"run={copied}", *files, cwd=tmp_path).code == 0
    assert (copied / "evaluation" / "test.json").read_bytes() == before
    assert len(list((copied / "evaluation").glob("test-*.json"))) == 2
    for name in ("a/reference", "b/reference", "a/reference"):  # the same name for other text, and again for this
        assert inside("evaluate", f"run={copied}", f"source={name}", f"reference={name}", cwd=tmp_path).code == 0
    assert len(list((copied / "evaluation").glob("reference*.json"))) == 2


@pytest.mark.slow
def test_a_reader_that_goes_away(trained: Path, root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """`translate.py … | head -1`: the end, and no traceback."""
    (tmp_path / "in.txt").write_bytes(LINE * 20_000)
    translate = [sys.executable, str(root / "scripts" / "translate.py"), f"run={trained}", "input=in.txt"]
    process = subprocess.Popen(
        [*translate, "decoding.strategy=greedy", "decoding.max_extra=1", "decoding.max_ratio=0.1"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    stderr = process.stderr.read().decode()
    assert process.wait(60) == 1
    assert "Traceback" not in stderr
    assert "Error" not in stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGHUP, 129),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_where_nothing_has_to_be_saved(
    number: int, code: int, trained: Path, root: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, str(root / "scripts" / "translate.py"), f"run={trained}"],
        cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=hear_interrupts,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(LINE)
    process.stdin.flush()
    assert process.stdout.readline()
    process.send_signal(number)
    assert process.wait(30) == code
    assert process.stderr.read().decode().splitlines()[-1] == "interrupted"

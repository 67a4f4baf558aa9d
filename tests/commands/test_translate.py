"""`scripts/translate.py`: one line out for each line in, whatever the lines are."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import s2s
from tests.commands.conftest import Done, Script

AWKWARD = ["The dog sleeps.", "", "   ", "😀 🏳️‍🌈 漢字 \u2028 end", "word " * 700, "\tThe cat.", "The dog sleeps."]


def test_stdin_file_and_python_give_the_same_lines(trained: Path, script: Script, tmp_path: Path) -> None:
    text = "".join(f"{line}\n" for line in AWKWARD).encode()
    (tmp_path / "in.txt").write_bytes(text)
    piped = script(
        "translate", f"run={trained}", "decoding.max_source=100", "decoding.beam=2", cwd=tmp_path, stdin=text
    )
    filed = script(
        "translate", f"run={trained}", "decoding.max_source=100", "decoding.beam=2", "input=in.txt", "output=out.txt",
        cwd=tmp_path,
    )  # fmt: skip
    assert piped.returncode == filed.returncode == 0, piped.stderr.decode() + filed.stderr.decode()
    assert filed.stdout == b""
    lines = piped.stdout.decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(AWKWARD)
    assert lines[1] == lines[2] == ""
    assert lines[0] == lines[-1]
    assert piped.stdout == (tmp_path / "out.txt").read_bytes()
    assert b"warning: line 5 has" in piped.stderr
    assert s2s.load(trained).translate(AWKWARD, max_source=100, beam=2) == lines


def test_n_best_scores_attention_and_forced_scoring_agree(trained: Path, script: Script, tmp_path: Path) -> None:
    source = b"The dog sleeps.\nThe small cat sees the house.\n"
    rich = script(
        "translate", f"run={trained}", "format=json", "attention=true", "decoding.n_best=3", cwd=tmp_path, stdin=source
    )
    assert rich.returncode == 0, rich.stderr.decode()
    rows = [json.loads(line) for line in rich.stdout.splitlines()]
    assert [len(row["hypotheses"]) for row in rows] == [3, 3]
    weights = rows[1]["attention"]
    assert [len(weights["target"]), len(weights["source"])] == [
        len(weights["weights"]["attention"]),
        len(weights["weights"]["attention"][0]),
    ]
    tsv = script("translate", f"run={trained}", "format=tsv", "decoding.n_best=3", cwd=tmp_path, stdin=source)
    table = [line.decode().split("\t") for line in tsv.stdout.splitlines()]
    assert [row[:2] for row in table] == [[str(n), str(r)] for n in (1, 2) for r in (1, 2, 3)]
    assert [row[4] for row in table] == [h["text"] for row in rows for h in row["hypotheses"]]

    (tmp_path / "source").write_bytes(source)
    (tmp_path / "reference").write_text("".join(f"{row['hypotheses'][0]['text']}\n" for row in rows), encoding="utf-8")
    forced = script("translate", f"run={trained}", "input=source", "reference=reference", cwd=tmp_path)
    assert forced.returncode == 0, forced.stderr.decode()
    ids = s2s.load(trained)
    again = ids.score(source.decode().splitlines(), [row["hypotheses"][0]["text"] for row in rows])
    assert [float(line) for line in forced.stdout.split()] == pytest.approx([s.log_prob for s in again], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["run=nowhere"], b"", "nowhere is not a run directory: it has no config.yaml"),
        ([], b"", "set run=…"),
        (["run={run}", "input=missing.txt"], b"", "cannot read missing.txt: No such file or directory"),
        (["run={run}"], b"good\n\xff\xfe bad\n", "stdin, line 2: not UTF-8"),
        (["run={run}", "decoding.n_best=2"], b"", "text holds one translation of each line"),
        (["run={run}", "decoding.beam=0"], b"", "decoding.beam=0 must be at least 1"),
        (["run={run}", "decoding.bean=3"], b"", "bean"),
        (["run={run}", "format=xml"], b"", "format='xml' is not one of: text, json, tsv"),
        (["run={run}", "device=warp"], b"", "device=warp is not usable here"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    trained: Path,
    inside: Callable[..., Done],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    stdin: bytes,
    message: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    done = inside("translate", *(a.format(run=trained) for a in arguments), cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert message in done.errors[0]
    assert "Traceback" not in done.stderr


def test_a_failing_translation_leaves_the_old_output(trained: Path, script: Script, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("precious\n")
    (tmp_path / "in.txt").write_bytes(b"good\n\xff\n")
    done = script("translate", f"run={trained}", "input=in.txt", "output=out.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "out.txt").read_text() == "precious\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt", "out.txt"]

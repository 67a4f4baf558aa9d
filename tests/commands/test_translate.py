"""`scripts/translate.py`: one line out for each line in, whatever the lines are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import s2s
from tests.commands.conftest import Done, Script

AWKWARD = ["The dog sleeps.", "", "   ", "😀 🏳️‍🌈 漢字 \u2028 end", "word " * 700, "\tThe cat.", "The dog sleeps."]
CUT = ("decoding.max_source=30", "decoding.beam=2", "decoding.max_ratio=1")


def test_stdin_file_and_python_give_the_same_lines(trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    text = "".join(f"{line}\n" for line in AWKWARD).encode()
    (tmp_path / "in.txt").write_bytes(text)
    given = ("translate", f"run={trained}", *CUT)
    piped = inside(*given, cwd=tmp_path, stdin=text)
    filed = inside(*given, "input=in.txt", "output=out.txt", cwd=tmp_path)
    assert piped.code == filed.code == 0, piped.stderr + filed.stderr
    assert filed.output == b""
    lines = piped.stdout.split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(AWKWARD)
    assert lines[1] == lines[2] == ""
    assert lines[0] == lines[-1]
    assert piped.output == (tmp_path / "out.txt").read_bytes()
    assert "warning: line 5 has" in piped.stderr
    assert s2s.load(trained).translate(AWKWARD, max_source=30, beam=2, max_ratio=1) == lines


def test_the_process_writes_what_the_function_does(
    trained: Path, script: Script, inside: Callable[..., Done], tmp_path: Path
) -> None:
    text = "".join(f"{line}\n" for line in AWKWARD).encode()
    done = script("translate", f"run={trained}", *CUT, cwd=tmp_path, stdin=text)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == inside("translate", f"run={trained}", *CUT, cwd=tmp_path, stdin=text).output


def test_n_best_scores_attention_and_forced_scoring_agree(
    trained: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    source = b"The dog sleeps.\nThe small cat sees the house.\n"
    best = ("translate", f"run={trained}", "decoding.n_best=3", "decoding.max_ratio=0.5")
    rich = inside(*best, "format=json", "attention=true", cwd=tmp_path, stdin=source)
    assert rich.code == 0, rich.stderr
    rows = [json.loads(line) for line in rich.output.splitlines()]
    assert [len(row["hypotheses"]) for row in rows] == [3, 3]
    weights = rows[1]["attention"]
    assert [len(weights["target"]), len(weights["source"])] == [
        len(weights["weights"]["attention"]),
        len(weights["weights"]["attention"][0]),
    ]
    tsv = inside(*best, "format=tsv", cwd=tmp_path, stdin=source)
    table = [line.decode().split("\t") for line in tsv.output.splitlines()]
    assert [row[:2] for row in table] == [[str(n), str(r)] for n in (1, 2) for r in (1, 2, 3)]
    assert [row[4] for row in table] == [h["text"] for row in rows for h in row["hypotheses"]]

    (tmp_path / "source").write_bytes(source)
    (tmp_path / "reference").write_text("".join(f"{row['hypotheses'][0]['text']}\n" for row in rows), encoding="utf-8")
    forced = inside("translate", f"run={trained}", "input=source", "reference=reference", cwd=tmp_path)
    assert forced.code == 0, forced.stderr
    ids = s2s.load(trained)
    again = ids.score(source.decode().splitlines(), [row["hypotheses"][0]["text"] for row in rows])
    assert [float(line) for line in forced.output.split()] == pytest.approx([s.log_prob for s in again], abs=1e-4)


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
    arguments: list[str],
    stdin: bytes,
    message: str,
) -> None:
    done = inside("translate", *(a.format(run=trained) for a in arguments), cwd=tmp_path, stdin=stdin)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert message in done.errors[0]
    assert "Traceback" not in done.stderr


def test_a_failing_translation_leaves_the_old_output(
    trained: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "out.txt").write_text("precious\n")
    (tmp_path / "in.txt").write_bytes(b"good\n\xff\n")
    done = inside("translate", f"run={trained}", "input=in.txt", "output=out.txt", cwd=tmp_path)
    assert done.code == 2
    assert (tmp_path / "out.txt").read_text() == "precious\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt", "out.txt"]


def test_a_run_without_cuda_graphs_translates_without_them(copied: Path) -> None:
    assert s2s.load(copied).model.cuda_graphs
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("cuda_graphs: true", "cuda_graphs: false"))
    assert not s2s.load(copied).model.cuda_graphs

"""`scripts/evaluate.py`: the numbers are sacrebleu's own.

Slow is the test that starts a process of the script.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sacrebleu

from s2s.commands import evaluate
from s2s.data.corpus import Split, load_corpus
from s2s.runs import load
from tests.commands.conftest import Done, Script

FAST = ("decoding.strategy=greedy", "decoding.max_ratio=0.5", "evaluation.bootstrap=50", "evaluation.bins=[8,16,24]")


@pytest.fixture(scope="module")
def test_text(trained: Path) -> Split:
    """The test set of the trained run."""
    return load_corpus(load(trained).config.data, ["test"]).tests["test"]


def test_scores_equal_sacrebleu_on_the_saved_files(
    copied: Path, test_text: Split, inside: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "in").write_text("".join(f"{t}\n" for t in test_text.source), encoding="utf-8")
    (tmp_path / "ref").write_text("".join(f"{t}\n" for t in test_text.target), encoding="utf-8")
    own = inside("evaluate", f"run={copied}", "source=in", "reference=ref", *FAST, cwd=tmp_path)
    assert own.code == 0, own.stderr
    builtin = inside("evaluate", f"run={copied}", *FAST, cwd=tmp_path)
    assert builtin.code == 0, builtin.stderr
    folder = copied / "evaluation"
    assert (folder / "in.hyp").read_bytes() == (folder / "test.hyp").read_bytes()
    result = json.loads((folder / "test.json").read_text(encoding="utf-8"))
    for metric, options in (("bleu", []), ("chrf", ["--chrf-word-order", "2"])):
        command = [sys.executable, "-m", "sacrebleu", "ref", "-i", str(folder / "test.hyp"), "-m", metric, *options]
        said = json.loads(subprocess.run([*command, "-w", "10"], cwd=tmp_path, capture_output=True, check=True).stdout)
        assert round(result[metric], 10) == said["score"]
        assert result["signatures"][metric] == said["signature"]
    assert sum(row["sentences"] for row in result["by_length"]) == 24
    assert [row["sentences"] for row in result["by_length"]] == [8] * 3 + [0]  # nothing is longer than 24 words
    assert (folder / "test.png").read_bytes().startswith(b"\x89PNG")
    assert "whole set" in builtin.stdout
    assert result["training_limit"] == 24
    assert result["decoding"]["strategy"] == "greedy"


@pytest.mark.slow
def test_the_process_prints_what_the_function_does(
    copied: Path, script: Script, inside: Callable[..., Done], tmp_path: Path
) -> None:
    done = script("evaluate", f"run={copied}", *FAST, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == inside("evaluate", f"run={copied}", *FAST, cwd=tmp_path).output


def test_what_a_precision_costs_is_sacrebleus_difference(
    copied: Path, test_text: Split, inside: Callable[..., Done], tmp_path: Path
) -> None:
    given = (f"run={copied}", "device=cpu", *FAST, "decoding.strategy=beam", "decoding.beam=2")
    usual = inside("evaluate", *given, cwd=tmp_path)
    assert usual.code == 0, usual.stderr
    folder = copied / "evaluation"
    kept = {path.name: path.read_bytes() for path in folder.glob("test.*") if path.suffix in (".hyp", ".png")}
    done = inside("evaluate", *given, "precisions=[bf16,int8,fp32,bf16]", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith(usual.stdout)
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    assert (folder / "test.fp32.hyp").read_bytes() == kept["test.hyp"]

    result = json.loads((folder / "test.precisions.json").read_text(encoding="utf-8"))
    references = list(test_text.target)
    lines = {p: (folder / f"test.{p}.hyp").read_bytes().decode().split("\n")[:-1] for p in ("bf16", "int8", "fp32")}
    bleu = {precision: sacrebleu.corpus_bleu(lines[precision], [references]).score for precision in lines}
    assert [score["precision"] for score in result["scores"]] == list(lines)
    for score in result["scores"]:
        precision = score["precision"]
        assert score["bleu"] == pytest.approx(bleu[precision], abs=1e-9)
        assert score["difference"] == pytest.approx(bleu[precision] - bleu["bf16"], abs=1e-9)
        assert score["low"] <= score["high"]
        other = sum(a != b for a, b in zip(lines[precision], lines["bf16"], strict=True))
        assert score["changed"] == pytest.approx(other / 24)
        assert score["sentences_per_s"] > 0
        assert f"\n{precision}  " in done.stdout
    assert result["scores"][0]["difference"] == result["scores"][0]["low"] == result["scores"][0]["high"] == 0
    assert result["decoding"]["beam"] == 2
    assert "paired bootstrap over sentences, 95 %, 50 resamples" in done.stdout
    assert result["signature"] in done.stdout


def test_an_unknown_precision_is_refused(trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("evaluate", f"run={trained}", "precisions=[fp32,int4]", cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert "precisions[1]='int4' is not one of: int8, bf16, fp32" in done.errors[0]


def test_a_tokeniser_of_another_language_is_refused(trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("evaluate", f"run={trained}", "evaluation.tokenize=zh", cwd=tmp_path)
    assert done.code == 2
    assert "error: evaluation.tokenize=zh does not fit the target language de" in done.stderr
    half = inside("evaluate", f"run={trained}", "source=in", cwd=tmp_path)
    assert "source=… and reference=… belong together" in half.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["evaluation.bins=[20,10]"], "evaluation.bins=[20, 10] must rise"),
        (["evaluation.tokenize=13b"], "evaluation.tokenize='13b' is not one of: 13a"),
    ],
)
def test_bad_settings_are_found_before_anything_is_translated(
    copied: Path, inside: Callable[..., Done], tmp_path: Path, settings: list[str], message: str
) -> None:
    done = inside("evaluate", f"run={copied}", *settings, cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert message in done.errors[0]
    assert not (copied / "evaluation").exists()


def test_a_run_without_test_sets_says_what_to_do(inside: Callable[..., Done], tmp_path: Path) -> None:
    for side in ("en", "de"):
        (tmp_path / f"t.{side}").write_text("".join(f"word{n % 7} {side}{n % 5} {n % 3}\n" for n in range(60)))
    data = ["data=files", "data.source=en", "data.target=de", "data.train=t", "data.validation=t", "run_dir=run"]
    small = ["data.tokenizer.vocab_size=60", "model.embedding_size=8", "model.encoder.hidden_size=8"]
    small += [
        "model.decoder.hidden_size=8",
        "training.max_steps=2",
        "training.precision=fp32",
        "decoding.max_ratio=0.2",
        "device=cpu",
    ]
    made = inside("train", *data, *small, cwd=tmp_path)
    assert made.code == 0, made.stderr
    done = inside("evaluate", "run=run", cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert "data.tests is empty" in done.errors[0]
    assert "splits=[validation]" in done.errors[0]
    validated = inside("evaluate", "run=run", "splits=[validation]", cwd=tmp_path)
    assert validated.code == 0, validated.stderr


def test_ctrl_c_is_one_line(
    trained: Path, inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate_run", stopped)
    done = inside("evaluate", f"run={trained}", cwd=tmp_path)
    assert done.code == 130
    assert done.stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in done.stderr

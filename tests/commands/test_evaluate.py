"""`scripts/evaluate.py`: the numbers are sacrebleu's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from s2s.config import GrammarData, TokenizerConfig
from s2s.data.corpus import load_corpus
from tests.commands.conftest import Script

TOKENIZER = TokenizerConfig("bpe", 300, False, True, 0.0, "identity", None)


def test_scores_equal_sacrebleu_on_the_saved_files(trained: Path, script: Script, tmp_path: Path) -> None:
    data = GrammarData("grammar", "grammar", "en", "de", 300, 20, 24, 1, None, TOKENIZER)
    test = load_corpus(data, ["test"]).tests["test"]
    (tmp_path / "in").write_text("".join(f"{t}\n" for t in test.source), encoding="utf-8")
    (tmp_path / "ref").write_text("".join(f"{t}\n" for t in test.target), encoding="utf-8")
    own = script("evaluate", f"run={trained}", "source=in", "reference=ref", "decoding.beam=2", cwd=tmp_path)
    assert own.returncode == 0, own.stderr.decode()
    builtin = script("evaluate", f"run={trained}", "decoding.beam=2", "evaluation.bootstrap=50", cwd=tmp_path)
    assert builtin.returncode == 0, builtin.stderr.decode()
    folder = trained / "evaluation"
    assert (folder / "in.hyp").read_bytes() == (folder / "test.hyp").read_bytes()
    result = json.loads((folder / "test.json").read_text(encoding="utf-8"))
    for metric, options in (("bleu", []), ("chrf", ["--chrf-word-order", "2"])):
        command = [sys.executable, "-m", "sacrebleu", "ref", "-i", str(folder / "test.hyp"), "-m", metric, *options]
        said = json.loads(subprocess.run([*command, "-w", "10"], cwd=tmp_path, capture_output=True, check=True).stdout)
        assert round(result[metric], 10) == said["score"]
        assert result["signatures"][metric] == said["signature"]
    assert sum(row["sentences"] for row in result["by_length"]) == 24
    assert [row["sentences"] for row in result["by_length"]] == [4] * 6 + [0]  # nothing is longer than 60 words
    assert (folder / "test.png").read_bytes().startswith(b"\x89PNG")
    assert "whole set" in builtin.stdout.decode()
    assert result["training_limit"] is not None
    assert result["decoding"]["beam"] == 2


def test_a_tokeniser_of_another_language_is_refused(trained: Path, script: Script, tmp_path: Path) -> None:
    done = script("evaluate", f"run={trained}", "evaluation.tokenize=zh", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: evaluation.tokenize=zh does not fit the target language de" in done.stderr.decode()
    half = script("evaluate", f"run={trained}", "source=in", cwd=tmp_path)
    assert "source=… and reference=… belong together" in half.stderr.decode()

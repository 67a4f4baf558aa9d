from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from s2s.models.interface import Seq2Seq
from tests.training.toy import At, ToyModel, assert_same_run, events, make_trainer, validate

ROOT = Path(__file__).parents[2]
# The test of all kill points is slow: each is a process that is killed, and another one that resumes.
PLATEAU = {"type": "plateau", "factor": 0.5, "patience": 0, "warmup": 2}
BEST = {"max_steps": 7, "average": "best", "save_every": 2, "validate_every": 3, "schedule": PLATEAU}
LAST = {"max_steps": 8, "average": "last", "save_every": 3, "validate_every": 2, "patience": 2, "lr": 1.0}
SGD = {"max_steps": 6, "optimizer": "sgd", "momentum": 0.9, "save_every": 1, "validate_every": 4}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("options", "shares"),
    [
        (BEST, 67),
        pytest.param(BEST, 23, marks=pytest.mark.slow),
        pytest.param(LAST, 23, marks=pytest.mark.slow),
        pytest.param(SGD, 20, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_anywhere_ends_in_the_same_bits(tmp_path: Path, options: dict[str, object], shares: int) -> None:
    """Kills a run at every `shares`-th file operation or update, and runs it again."""
    command = [sys.executable, "-m", "tests.training.killed", str(tmp_path), json.dumps(options), "1", str(shares)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["deaths"] > 100 / shares
    assert report["bad"] == [], done.stderr


def test_a_finished_run_reports_it_and_changes_nothing(tmp_path: Path) -> None:
    first = make_trainer(tmp_path).fit()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    def never(model: Seq2Seq) -> dict[str, float]:
        raise AssertionError

    again = make_trainer(tmp_path, validate=never).fit()
    assert again.already_finished
    assert not first.already_finished
    assert (again.steps, again.best_score, again.tokens) == (first.steps, first.best_score, first.tokens)
    assert again.train_seconds == first.train_seconds
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_raising_max_steps_equals_a_longer_run(tmp_path: Path) -> None:
    # 8 is a multiple of validate_every and log_every, so stopping there adds no line of its own.
    make_trainer(tmp_path / "raised", max_steps=8).fit()
    result = make_trainer(tmp_path / "raised", max_steps=12).fit()
    assert (result.steps, result.already_finished) == (12, False)
    make_trainer(tmp_path / "whole", max_steps=12).fit()
    assert_same_run(tmp_path / "raised", tmp_path / "whole")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_frozen_parts_keep_their_bits_and_a_resumed_run_has_those_of_a_whole_one(
    tmp_path: Path, optimizer: str
) -> None:
    """The exported weights are a mean of checkpoints, and a frozen name stands for the whole tied tensor."""
    options: dict[str, Any] = {
        "freeze": ["hidden", "output.weight"],
        "scale": {"output.bias": 0.3},
        "optimizer": optimizer,
    }
    options |= {"average": "last", "average_checkpoints": 3, "momentum": 0.9, "clip_norm": 0.1}
    options |= {"validate": lambda model: {"valid_loss": 1.0}}  # the mean is as good as each of them

    class DiedError(Exception):
        pass

    def die() -> None:
        raise DiedError

    result = make_trainer(tmp_path / "whole", **options).fit()
    assert result.from_steps == [4, 8, 12]
    with pytest.raises(DiedError):
        make_trainer(tmp_path / "cut", callbacks=[At(7, die)], **options).fit()
    make_trainer(tmp_path / "cut", **options).fit()
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    start, weights = ToyModel().state_dict(), load_file(tmp_path / "whole" / "model.safetensors")
    same = {name for name, tensor in weights.items() if torch.equal(tensor, start[name])}
    assert same == {"embedding.weight", "hidden.weight", "hidden.bias"}
    assert set(weights) == {*same, "norm.weight", "norm.bias", "output.bias", "seen"}


def test_time_and_tokens_add_up_over_resumed_parts(tmp_path: Path) -> None:
    first = make_trainer(tmp_path, max_steps=4).fit()
    second = make_trainer(tmp_path, max_steps=8).fit()
    lines = events(tmp_path, times=True)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert second.train_seconds > first.train_seconds > 0
    assert second.tokens == lines[-1]["tokens"] > first.tokens
    assert second.tokens_per_s == pytest.approx(second.tokens / second.train_seconds)


def test_half_a_line_of_a_metrics_file_is_removed(tmp_path: Path) -> None:
    make_trainer(tmp_path / "whole").fit()

    class DiedError(Exception):
        pass

    def die() -> None:
        raise DiedError

    with pytest.raises(DiedError):
        make_trainer(tmp_path / "cut", callbacks=[At(11, die)]).fit()
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "st')
    make_trainer(tmp_path / "cut").fit()
    assert events(tmp_path / "cut") == events(tmp_path / "whole")


def test_a_damaged_model_file_is_written_again_where_it_can_be(tmp_path: Path) -> None:
    make_trainer(tmp_path, average="last", validate_every=3).fit()
    path = tmp_path / "model.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:100])
    assert make_trainer(tmp_path, average="last", validate_every=3, validate=validate).fit().already_finished
    assert path.read_bytes() == before

"""`scripts/train.py`: runs, resumes, and refuses in one line.

Slow are the tests that start processes of the script, to kill or to interrupt them.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from s2s.commands.train import default_run_dir
from s2s.errors import S2SError
from s2s.runs import load
from s2s.training.checkpoint import RunDirectory
from tests.commands.conftest import CORPUS, SMALL, SMALL_RECURRENT, Done, hear_interrupts

FILES = ["data=files", "data.source=en", "data.target=de"]
UNTIMED = ("tokens_per_s", "seconds", "waiting", "memory")


def _metrics(run: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in UNTIMED} for row in rows]


def test_the_same_command_says_that_it_is_finished_and_more_steps_go_on(
    copied: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    weights = (copied / "model.safetensors").read_bytes()
    again = inside("train", *SMALL_RECURRENT, f"run_dir={copied}", cwd=tmp_path)
    assert again.code == 0, again.stderr
    assert "is finished already" in again.stderr
    assert (copied / "model.safetensors").read_bytes() == weights
    other = inside("train", *SMALL_RECURRENT, f"run_dir={copied}", "optim.lr=0.5", cwd=tmp_path)
    assert other.code == 2
    assert re.search(r"run of another configuration \(optim\.lr: 0\.\d+ → 0\.5\)", other.stderr)
    assert (copied / "model.safetensors").read_bytes() == weights
    more = inside("train", *SMALL_RECURRENT, f"run_dir={copied}", "training.max_steps=14", cwd=tmp_path)
    assert more.code == 0, more.stderr
    assert "done after 14 updates" in more.stderr


# What draws random numbers, and what accumulates over updates.
RANDOM = [
    *("data.validation_pairs=4", "training.metric=loss"),
    *("model.dropout=0.3", "data.tokenizer.sampling=0.2", "training.accumulate=2", "optim.schedule.type=constant"),
    *("training.average=last", "training.average_checkpoints=2", "training.validate_every=4", "training.log_every=2"),
]


def assert_resumes_in_the_same_bits(inside: Callable[..., Done], folder: Path, arguments: list[str]) -> None:
    """A run of 12 updates in two parts ends as one in a single part."""
    for run, parts in {"whole": [12], "broken": [4, 12]}.items():
        for steps in parts:
            done = inside("train", *arguments, f"run_dir={run}", f"training.max_steps={steps}", cwd=folder)
            assert done.code == 0, done.stderr
    whole, broken = folder / "whole", folder / "broken"
    assert (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    assert [row for row in _metrics(broken) if row["step"] > 4] == [row for row in _metrics(whole) if row["step"] > 4]


def test_a_resumed_run_ends_in_the_same_bits(inside: Callable[..., Done], tmp_path: Path) -> None:
    assert_resumes_in_the_same_bits(inside, tmp_path, [*SMALL_RECURRENT, *RANDOM])


def _killed_and_resumed(
    root: Path, environment: dict[str, str], folder: Path, arguments: list[str], seed: int
) -> tuple[Path, Path]:
    command = [sys.executable, str(root / "scripts" / "train.py"), *arguments]
    whole, broken = folder / "whole", folder / "broken"
    subprocess.run([*command, f"run_dir={whole}"], cwd=folder, env=environment, check=True, capture_output=True)
    draw = random.Random(seed)
    for _ in range(2):
        process = subprocess.Popen(
            [*command, f"run_dir={broken}"], cwd=folder, env=environment, stderr=subprocess.DEVNULL
        )
        lines_wanted = draw.randint(1, 5)
        metrics = broken / "metrics.jsonl"
        before = len(metrics.read_bytes().splitlines()) if metrics.exists() else 0
        while process.poll() is None:
            if metrics.exists() and len(metrics.read_bytes().splitlines()) - before >= lines_wanted:
                time.sleep(draw.random() * 0.3)
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.005)
    subprocess.run([*command, f"run_dir={broken}"], cwd=folder, env=environment, check=True, capture_output=True)
    return whole, broken


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["model=transformer", *SMALL, *RANDOM, "training.max_steps=24", "optim.schedule.type=cosine"]
    whole, broken = _killed_and_resumed(root, environment, tmp_path, arguments, seed=1)
    assert (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    assert _metrics(whole) == _metrics(broken)


def _interrupt(metrics: Path, number: int) -> None:
    """Sends this process a signal when the training has written its first line."""
    while not (metrics.exists() and metrics.read_bytes()):
        time.sleep(0.01)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_the_same_command_resumes(
    inside: Callable[..., Done], tmp_path: Path, number: int, code: int
) -> None:
    threading.Thread(target=_interrupt, args=(tmp_path / "run" / "metrics.jsonl", number), daemon=True).start()
    stopped = inside("train", *SMALL_RECURRENT, "run_dir=run", "training.max_steps=100000", cwd=tmp_path)
    assert stopped.code == code
    step = int(stopped.stderr.split("warning: stopped at update ")[1].split(";")[0])
    assert "the same command resumes" in stopped.stderr
    more = inside("train", *SMALL_RECURRENT, "run_dir=run", f"training.max_steps={step + 2}", cwd=tmp_path)
    assert f"resuming at update {step}," in more.stderr
    assert f"done after {step + 2} updates" in more.stderr


@pytest.mark.slow
def test_ctrl_c_ends_the_process_as_it_should(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, str(root / "scripts" / "train.py"), *SMALL_RECURRENT, "training.max_steps=100000"]
    process = subprocess.Popen(
        [*command, "run_dir=run"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        preexec_fn=hear_interrupts,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command resumes" in stderr.decode()
    assert "Traceback" not in stderr.decode()


def test_two_processes_do_not_train_in_one_directory(inside: Callable[..., Done], tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").locked():
        done = inside("train", *SMALL_RECURRENT, "run_dir=run", cwd=tmp_path)
    assert done.code == 2
    assert done.stderr.endswith("error: another process is training in run: wait, or choose another run_dir\n")
    assert inside("train", *SMALL_RECURRENT, "run_dir=run", "training.max_steps=1", cwd=tmp_path).code == 0


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_bad_job(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("train", "-m", *SMALL_RECURRENT, "training.max_steps=2", "seed=1,2", "optim.lr=1e-3,-1", cwd=tmp_path)
    assert done.code == 2
    assert done.stderr.count("error: config: optim.lr=-1 must be more than 0") == 2
    runs = [path.parent for path in tmp_path.glob("runs/grammar/*/model.safetensors")]
    configs = [OmegaConf.load(run / "config.yaml") for run in runs]
    assert {(c["seed"], c["optim"]["lr"]) for c in configs} == {(1, 1e-3), (2, 1e-3)}
    assert {run.name[-3:] for run in runs} == {"-s1", "-s2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=lstn"], "lstn"),
        (["model.sise=3"], "sise"),
        (["training.batch_tokens=x", "optim.lr=-1"], "2 errors: (1) optim.lr=-1 must be more than 0; (2)"),
        (["data=files"], "set data.source=…"),
        (["data=multi30k", "data.path=./nowhere"], "data.path=./nowhere: there is no such folder"),
        (["data=multi30k", "data.path=folder", "data.target=fr"], "no key 'fr'; there are: en, de"),
        (["data=multi30k", "data.path=folder", "data.tests=[late]"], "late"),
        ([*FILES, "data.train=text", "data.validation=text"], "text.en has 2"),
        ([*FILES, "data.train=latin.tsv", "data.validation=latin.tsv"], "latin.tsv"),
        ([*CORPUS, "init_from=nowhere"], "nowhere"),
        (["device=warp"], "device=warp is not usable here"),
        (["recurrence=fast"], "recurrence"),
        (["model=null"], "Config group override must be"),
        (["model=gru", "recurrence=torch"], "recurrence=torch: no cell of this model has it"),
        ([*CORPUS, "training.batch_tokens=3"], "training.batch_tokens=3"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_any_training(
    inside: Callable[..., Done], tmp_path: Path, arguments: list[str], message: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        (folder / f"{split}.jsonl").write_text('{"en": "a b c", "de": "d e f"}\n')
    (tmp_path / "text.en").write_text("one\ntwo\n")
    (tmp_path / "text.de").write_text("eins\n")
    (tmp_path / "latin.tsv").write_bytes(b"good\tgut\nna\xefve\tnaiv\n")
    done = inside("train", *arguments, "run_dir=run", cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert message in done.errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_damaged_and_foreign_runs_are_named(trained: Path, copied: Path) -> None:
    copy = copied
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(S2SError, match=r"model\.safetensors"):
        load(copy)
    shutil.copy(trained / "model.safetensors", weights)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("hidden_size: 14", "hidden_size: 15"))
    with pytest.raises(S2SError, match=r"model\.safetensors.*shape"):
        load(copy)
    (copy / "config.yaml").write_text(config.replace("cell: lstm", "cell: evil.Cell"))
    with pytest.raises(S2SError, match=r"add trust=\[evil\]"):
        load(copy)
    (copy / "config.yaml").write_text("]: {not yaml")
    with pytest.raises(S2SError, match=r"config\.yaml is not valid YAML"):
        load(copy)
    os.truncate(copy / "tokenizer" / "source.model", 10)
    (copy / "config.yaml").write_text(config)
    with pytest.raises(S2SError, match="tokenizer"):
        load(copy)


def test_run_directory_names() -> None:
    values = {"data": {"name": "grammar"}, "model": {"name": "gru"}, "seed": 3}
    assert default_run_dir(values, ["model=gru", "seed=3", "device=cpu"]) == Path("runs/grammar/gru-s3")
    assert default_run_dir(values, ["optim.lr=1e-3", "training.max_steps=5"]) == Path(
        "runs/grammar/gru-optim.lr_1e-3-s3"
    )
    one = default_run_dir(values, ["data.path=/here/a b", "model.dropout=0.1"])
    two = default_run_dir(values, ["data.path=/here/a_b", "model.dropout=0.1"])
    assert one != two
    assert all(part not in one.name for part in ("/", " "))
    long = default_run_dir(values, [f"model.cell_options.option_number_{n}={n}" for n in range(20)])
    assert len(long.name) < 80
    order = [["optim.lr=1", "model.dropout=0"], ["model.dropout=0", "optim.lr=1"]]
    assert default_run_dir(values, order[0]) == default_run_dir(values, order[1])


def test_a_scorer_that_is_not_installed_is_found_before_any_training(
    inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("sacrebleu.tokenizers.tokenizer_ko_mecab"), "MeCab", None)
    data = ["data=files", "data.source=en", "data.target=ko", "data.train=t", "data.validation=t"]
    done = inside("train", *data, "run_dir=run", cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert "pip install 'sacrebleu[ko]'" in done.errors[0]
    assert not (tmp_path / "run").exists()

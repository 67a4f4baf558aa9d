"""How long trainings will take, and in which order they begin."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st

from s2s.commands import forecast
from s2s.commands.console import plain
from s2s.commands.forecast import OVERHEAD_SECONDS, order, schedule, training_seconds
from s2s.commands.train import run_config
from s2s.config import RunConfig
from s2s.data.batching import Batch, collate

CPU = torch.device("cpu")
times = st.dictionaries(st.text(max_size=3), st.none() | st.floats(0, 100), max_size=7)


@pytest.mark.slow
@given(seconds=times, at_once=st.integers(1, 4))
def test_every_job_begins_once_and_the_longest_first(seconds: dict[str, float | None], at_once: int) -> None:
    found = order(seconds, at_once)
    assert sorted(found) == sorted(seconds)
    known = [seconds[name] or 0.0 for name in found]
    if known:
        assert known[0] == max(known)
    if at_once > 1 and len(found) > at_once:
        assert known[1] == min(known)
        del known[1]
    assert known == sorted(known, reverse=True)


def test_of_unknown_times_the_last_model_is_taken_for_the_longest() -> None:
    assert order(dict.fromkeys(["rnn", "lstm", "transformer"]), 1) == ["transformer", "lstm", "rnn"]


@given(seconds=st.lists(st.integers(0, 20), min_size=1, max_size=5), at_once=st.integers(1, 3))
def test_the_end_is_near_the_best_there_is(seconds: list[int], at_once: int) -> None:
    """Longest first is at most a third worse than the best division of the jobs (Graham 1969)."""
    best = min(
        max(sum(s for s, core in zip(seconds, cores, strict=True) if core == one) for one in range(at_once))
        for cores in itertools.product(range(at_once), repeat=len(seconds))
    )
    assert best <= schedule([float(s) for s in seconds], at_once) <= best * 4 / 3 + 1e-9


def _config(root: Path, *more: str) -> RunConfig:
    small = ["model=gru_attention", "model.encoder.hidden_size=8", "model.decoder.hidden_size=8"]
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        typed = [*small, "data.tokenizer.vocab_size=300", "training.precision=fp32", *more]
        return run_config({key: value for key, value in plain(compose("train", typed)).items() if key != "run_dir"})


def test_what_is_left_takes_time(root: Path, tmp_path: Path) -> None:
    config = _config(root, "training.max_steps=40")
    assert (training_seconds(config, tmp_path, CPU) or 0) > OVERHEAD_SECONDS
    folder = tmp_path / "training" / "step-00000040"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"step": 40}))
    (tmp_path / "training" / "latest.json").write_text(json.dumps({"folder": folder.name}))
    assert training_seconds(config, tmp_path, CPU) == 0
    assert (training_seconds(_config(root, "training.max_steps=41"), tmp_path, CPU) or 0) > OVERHEAD_SECONDS


@pytest.mark.parametrize(("most", "sentences"), [("null", 20), ("5", 5)])
def test_batches_are_as_large_as_those_of_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, sentences: int
) -> None:
    sizes = []

    def watched(source: list[list[int]], target: list[list[int]], index: range) -> Batch:
        sizes.extend((len(side), {*map(len, side)}) for side in (source, target))
        return collate(source, target, index)

    monkeypatch.setattr(forecast, "collate", watched)
    typed = ["training.max_steps=2", "training.batch_tokens=240", f"training.batch_sentences={most}", "data.longest=30"]
    training_seconds(_config(root, *typed), tmp_path, CPU)
    assert sizes == [(sentences, {12})] * 2


def test_each_update_takes_as_long_as_its_micro_batches(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(root, "training.max_steps=40", "training.accumulate=3")
    monkeypatch.setattr("time.perf_counter", itertools.count().__next__)  # so a micro-batch takes a second
    assert training_seconds(config, tmp_path, CPU) == OVERHEAD_SECONDS + 40 * 3


@pytest.mark.parametrize("typed", [["training.max_steps=null", "training.max_epochs=3", "optim=adam"]])
def test_a_run_that_ends_when_it_no_longer_improves_has_no_forecast(
    root: Path, tmp_path: Path, typed: list[str]
) -> None:
    assert training_seconds(_config(root, *typed), tmp_path, CPU) is None

"""`training.precision` of a run: decided at its first start, kept by its directory; a warning where it is slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from s2s import dtype_choice
from s2s.commands import precision as in_commands
from s2s.commands.console import plain
from s2s.commands.precision import decide_precision
from s2s.commands.train import run_config
from s2s.config import RunConfig
from s2s.dtype_choice import Rates
from tests.commands.conftest import SMALL_RECURRENT, Done

Measured = Callable[[float, float], list[list[Any]]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Has a machine measure so much in fp32 and in bf16; what was asked for is in the list."""

    def be(fp32: float, bf16: float) -> list[Any]:
        asked: list[Any] = []

        def rates(shapes: Any) -> Rates:
            asked.append(list(shapes))
            return Rates(fp32, bf16)

        for module in (dtype_choice, in_commands):
            monkeypatch.setattr(module, "measured_rates", rates)
        return asked

    return be


@pytest.fixture
def train(inside: Callable[..., Done], tmp_path: Path) -> Callable[[str, int], Done]:
    def run(dtype: str, steps: int) -> Done:
        given = [*SMALL_RECURRENT, "data.validation_pairs=2", f"training.precision={dtype}"]
        return inside("train", *given, f"training.max_steps={steps}", "run_dir=run", cwd=tmp_path)

    return run


def _stored(folder: Path) -> str:
    return str(OmegaConf.load(folder / "run" / "config.yaml").training.precision)


def _slow(done: Done) -> list[str]:
    return [line for line in done.stderr.splitlines() if "is slow here" in line]


@pytest.mark.parametrize(
    ("rates", "other", "taken"),
    [((1, 2), (2, 1), "bf16"), pytest.param((2, 1), (1, 2), "fp32", marks=pytest.mark.slow)],
)
def test_a_run_keeps_what_it_began_with(
    train: Callable[[str, int], Done],
    measured: Measured,
    tmp_path: Path,
    rates: tuple[float, float],
    other: tuple[float, float],
    taken: str,
) -> None:
    measured(*rates)
    first = train("auto", 2)
    assert first.code == 0, first.stderr
    assert f"training.precision=auto selects {taken}: " in first.stderr
    assert _stored(tmp_path) == taken
    measured(*other)
    resumed = train("auto", 4)
    assert resumed.code == 0, resumed.stderr
    assert "done after 4 updates" in resumed.stderr
    assert _stored(tmp_path) == taken
    assert train(taken, 4).code == 0
    changed = "fp32" if taken == "bf16" else "bf16"
    refused = train(changed, 4)
    assert refused.code == 2
    assert f"run of another configuration (training.precision: {taken} → {changed})" in refused.errors[0]


@pytest.mark.parametrize(("rates", "lines"), [((3.1, 1), 1), ((3, 1), 0), ((1, 9), 0)])
def test_a_dtype_that_is_slow_here_is_named(
    train: Callable[[str, int], Done], measured: Measured, rates: tuple[float, float], lines: int
) -> None:
    measured(*rates)
    done = train("bf16", 1)
    assert done.code == 0, done.stderr
    assert len(_slow(done)) == lines
    assert all(line.startswith("warning: training.precision=bf16 is slow here: ") for line in _slow(done))


def _composed(root: Path, *given: str) -> RunConfig:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        values = plain(compose("train", [*given]))
    return run_config({key: value for key, value in values.items() if key != "run_dir"})


def test_models_that_are_compared_get_the_same_one(root: Path, measured: Measured) -> None:
    runs = [_composed(root, f"model={model}") for model in ("lstm", "transformer")]
    shapes_measured = measured(1, 2)
    cpu = torch.device("cpu")
    assert [run.training.precision for run in decide_precision(runs, cpu)] == ["bf16", "bf16"]
    (shapes,) = shapes_measured
    width, inner = runs[1].model["embedding_size"], runs[1].model["encoder"]["feedforward"]
    of_lstm = 4 * runs[0].model["encoder"]["hidden_size"]
    assert {(2500, width), (inner, width), (of_lstm, width)} <= {*shapes}, "of both, with the configured vocabulary"
    stored = runs[1].with_precision("fp32")  # of a run that is there already
    assert [run.training.precision for run in decide_precision([runs[0], stored], cpu)] == ["fp32", "fp32"]


def test_the_model_of_the_objective_is_measured(root: Path, measured: Measured) -> None:
    run = _composed(root, "model=gru", "objective=masked_lm", "data=grammar_text", "training.metric=loss")
    shapes_measured = measured(1, 2)
    decide_precision([run], torch.device("cpu"))
    (shapes,) = shapes_measured
    width, vocabulary = run.model["embedding_size"], run.data.tokenizer.vocab_size
    assert shapes.count((vocabulary, width)) == 1, "one embedding: no target, no decoder"

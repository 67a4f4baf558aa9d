"""Hydra as its users know it: groups that stay apart, sweepers with an objective, launchers, console commands.

Slow are the tests that need plugins or processes of their own.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from s2s.commands import console
from tests.commands.conftest import SMALL_RECURRENT, Done

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

OWN_CELL = """
import torch
from torch import nn
from s2s.nn.cells import Cell

class Mine(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.inputs, self.states = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def project(self, x):
        return self.inputs(x)

    def step(self, gx, state):
        return (torch.tanh(gx + self.states(state[0])),)
"""


def _needs(plugin: str) -> None:
    try:
        importlib.metadata.distribution(plugin)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{plugin} is not installed")


def test_data_changes_neither_training_nor_optimiser(root: Path) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        one, other = (compose("train", [f"data={data}"]) for data in ("grammar", "multi30k"))
        assert one.training == other.training
        assert one.optim == other.optim
        experiment = compose("train", ["experiment=grammar"])
        assert (experiment.data.name, experiment.training.name, experiment.optim.name) == ("grammar", "quick", "quick")
        for size in ("quick", "full"):
            assert "experiment=grammar" in compose("compare", ["data=grammar"]).ladder[size].all


@pytest.mark.slow
def test_what_trains_on_the_built_in_corpus_has_its_settings(root: Path) -> None:
    """All that the lab's experiments train there, and the ladder."""
    checked = 0
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        lab = OmegaConf.to_container(compose("lab"), resolve=True)["lab"]
        trainings = [list(ladder["all"]) for ladder in compose("compare").ladder.values()]
        for size in ("quick", "full"):
            trainings.append(lab["translation"][size])
            sections = [section[size] for section in lab.values() if isinstance(section, dict) and size in section]
            trainings += [section["training"] for section in sections if "training" in section]
        for overrides in trainings:
            config = compose("train", overrides)
            if config.data.name == "grammar":
                checked += 1
                assert (config.training.name, config.optim.name) == ("quick", "quick"), overrides
    assert checked >= 7


@pytest.mark.parametrize(
    ("launcher", "plugin"), [("joblib", "hydra_joblib_launcher"), ("submitit_slurm", "hydra_submitit_launcher")]
)
def test_launchers_compose(root: Path, launcher: str, plugin: str) -> None:
    _needs(plugin)
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = compose("train", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert launcher.split("_")[0] in config.hydra.launcher._target_


def test_training_returns_its_validation_score(
    inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[float | None] = []
    call = console._Job.__call__
    monkeypatch.setattr(console._Job, "__call__", lambda job, config: returned.append(call(job, config)))
    for metric in ("bleu", "loss"):
        done = inside(
            "train",
            *SMALL_RECURRENT,
            "training.max_steps=6",
            f"training.metric={metric}",
            f"run_dir={metric}",
            cwd=tmp_path,
        )
        assert done.code == 0, done.stderr
        lines = [json.loads(line) for line in (tmp_path / metric / "metrics.jsonl").read_text().splitlines()]
        scores = [line[f"valid_{metric}"] for line in lines if line["event"] in ("valid", "average") and line["best"]]
        assert returned.pop() == pytest.approx(scores[-1])


@pytest.mark.slow
def test_a_batch_is_overfitted(inside: Callable[..., Done], tmp_path: Path) -> None:
    small = ["model.embedding_size=32", "model.encoder.hidden_size=32", "model.decoder.hidden_size=48", "device=cpu"]
    small += ["training.precision=fp32"]
    done = inside("train", "experiment=debug", "model=gru_attention", *small, "run_dir=run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "batches: 1 an epoch" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["event"] == "train"]
    assert losses[-1] < 0.15 < 3 < losses[0]


def test_console_commands_and_packages_are_those_of_the_tree(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    commands = {path.stem for path in (root / "scripts").glob("*.py")}
    assert project["project"]["scripts"] == {f"s2s-{name}": f"s2s.commands.console:{name}" for name in commands}
    assert all(callable(getattr(console, name)) for name in commands)
    folders = {path.parent.relative_to(root) for path in (root / "s2s").rglob("*.py")}
    assert {*project["tool"]["setuptools"]["packages"]} == {".".join(folder.parts) for folder in folders} | {"s2s.conf"}
    assert console.conf_folder() == root / "conf"


SWEEP = [*SMALL_RECURRENT, "model=gru", "training.max_steps=4", "training.validate_every=4"]


@pytest.mark.parametrize(
    ("given", "direction"),
    [([], "maximize"), (["training.metric=loss"], "minimize"), (["objective=masked_lm"], "minimize")],
)
def test_a_sweeper_knows_which_score_is_better(root: Path, given: list[str], direction: str) -> None:
    """The file alone, as composing it needs the plugin."""
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = OmegaConf.create(OmegaConf.to_container(compose("train", given)))
    config.hydra = OmegaConf.load(root / "conf" / "hparams_search" / "optuna.yaml").hydra
    assert config.hydra.sweeper.direction == direction


@pytest.mark.slow
def test_a_sweeper_finds_its_best_value(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    _needs("hydra_optuna_sweeper")
    command = [sys.executable, str(root / "scripts" / "train.py"), *SWEEP, "hparams_search=optuna"]
    done = subprocess.run(
        [*command, "training.metric=loss", "hydra.sweeper.n_trials=4"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = OmegaConf.load(tmp_path / "runs" / ".sweeps" / "optimization_results.yaml")
    runs = list((tmp_path / "runs" / "grammar").iterdir())
    scores = []
    for run in runs:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        scores += [line["valid_loss"] for line in lines if line["event"] == "valid"]
    assert len(scores) == 4
    assert results.best_value == pytest.approx(min(scores))


@pytest.mark.slow
def test_a_launcher_takes_a_cell_of_the_users(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    _needs("hydra_joblib_launcher")
    (tmp_path / "my_cells.py").write_text(OWN_CELL)
    command = [sys.executable, str(root / "scripts" / "train.py"), "-m", *SWEEP, "model.cell=my_cells.Mine", "seed=1,2"]
    done = subprocess.run(
        [*command, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = sorted(path.name for path in (tmp_path / "runs" / "grammar").iterdir())
    assert len(runs) == 2
    assert [re.search(r"-s(\d)$", name).group(1) for name in runs] == ["1", "2"]  # type: ignore[union-attr]
    assert all((tmp_path / "runs" / "grammar" / name / "model.safetensors").exists() for name in runs)

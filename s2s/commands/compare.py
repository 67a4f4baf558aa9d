"""`scripts/compare.py`: trains and evaluates a ladder of models on one data set, and writes one page about them.

Each model is an ordinary run below `output`, made as `train.py model=…` with the same further settings would make it;
with several seeds, one run for each of them. What is trained and evaluated already is not done again, so a stopped
comparison goes on where it was.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig

from s2s.commands.compare_report import evaluated, test_set, write_report
from s2s.commands.console import key_of, overrides, plain
from s2s.commands.side_by_side import SIGNAL, run_side_by_side
from s2s.commands.train import check, train_run
from s2s.config import NonNegativeInt, PositiveInt, check_call, raise_all
from s2s.data.corpus import check_corpus
from s2s.decoding.translator import check_precision
from s2s.devices import jobs_at_once, pick_device
from s2s.errors import S2SError
from s2s.evaluation.scaling import read_scaling
from s2s.runs import Run, load
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)

# Keys of compare.yaml that train.yaml does not have.
OWN = ("models", "seeds", "ladder", "output", "jobs", "scaling")


@dataclass(frozen=True)
class Planned:
    """One training: of this model, with this seed, into a folder of this name."""

    model: str
    seed: int
    folder: str
    values: dict[str, Any]  # its configuration


def options(
    *,
    models: list[str],
    seeds: list[NonNegativeInt] | None,
    ladder: dict[str, Any],
    output: str,
    jobs: PositiveInt | None,
    scaling: str | None,
) -> None:
    """The schema of what conf/compare.yaml adds to conf/train.yaml; see there for the meaning."""


def compare(config: DictConfig) -> None:
    """Trains, evaluates, writes the report."""
    values = plain(config)
    raise_all(check_call(options, {"ladder": {}} | {key: values[key] for key in OWN if key in values}, ""))
    output = Path(values["output"])
    wanted = plan(values["models"], _seeds(values), values.get("ladder", {}), output)
    scaling = None if values["scaling"] is None else read_scaling(Path(values["scaling"]))
    for one in wanted:  # all mistakes are found before the first model trains for minutes
        data = check(one.values, RunDirectory(output / one.folder)).data
        if not getattr(data, "tests", True):
            raise S2SError("data.tests is empty: compare.py evaluates all models on the first test set, so name one")
        check_precision(one.values["decoding"]["precision"], pick_device(one.values["device"]))
        check_corpus(data)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise S2SError(f"cannot make the folder output={output}: {error.strerror}; choose another") from error
    at_once = min(len(wanted), values["jobs"] or jobs_at_once(pick_device(values["device"]), len(wanted)))
    # Ladders climb, so their last models take longest; started first, they leave no core idle at the end.
    jobs = {one.folder: partial(train_and_evaluate, one.values, output / one.folder) for one in reversed(wanted)}
    code = run_side_by_side(jobs, at_once)
    if code > SIGNAL:
        log.warning("stopped before the end; the same command goes on with what is missing")
    if code:
        sys.exit(code)
    runs: dict[str, dict[int, Run]] = {}
    for one in wanted:
        run = load(output / one.folder, one.values["device"], one.values["trust"])
        runs.setdefault(one.model, {})[one.seed] = run
    write_report(runs, output / "report", scaling)


def train_and_evaluate(values: dict[str, Any], path: Path) -> None:
    """One model of the ladder; nothing is done twice."""
    train_run(values, RunDirectory(path))
    run = load(path, values["device"], values["trust"])
    evaluated(run, *test_set(run))


def plan(models: list[str], seeds: list[int], ladder: dict[str, Any], output: Path) -> list[Planned]:
    """Each model with each seed: configured by what `ladder` has for it, then by what was typed."""
    typed = [o for o in overrides() if key_of(o).split(".")[0] not in OWN]
    for key, instead in {"model": "models=[…], a list,", "run_dir": "output=…, the folder of all runs,"}.items():
        if key in map(key_of, typed):
            raise S2SError(f"config: compare.py takes {instead} in place of {key}=…")
    if len(set(models)) < len(models) or not models:
        raise S2SError(f"config: models={models} must name at least one model, and each once")
    for name, settings in ladder.items():
        if not (isinstance(settings, list) and all(isinstance(one, str) for one in settings)):
            raise S2SError(f"config: ladder.{name}={settings} must be a list of settings, such as [optim.lr=1e-3]")
    found = []
    for name in models:
        for seed in seeds:
            values = plain(compose("train", [*ladder.get(name, []), *typed, f"model={name}", f"seed={seed}"]))
            del values["run_dir"]
            found.append(Planned(name, seed, _folder(output, name, seed, len(seeds) > 1), values))
    return found


def _folder(output: Path, model: str, seed: int, several: bool) -> str:
    """The name of a run below `output`: that of the model, where there are several seeds with the seed at its end.

    Where the model was trained with this seed before, alone or beside others, it is the name that it got then.
    """
    names = [f"{model}-s{seed}", model] if several else [model, f"{model}-s{seed}"]
    for name in names:
        there = RunDirectory(output / name)
        if there.config.exists() and there.load_config().get("seed") == seed:
            return name
    return names[0]


def _seeds(values: dict[str, Any]) -> list[int]:
    """What every model is trained with."""
    seeds = values["seeds"]
    if seeds is None:
        return [values["seed"]]
    if "seed" in map(key_of, overrides()):
        raise S2SError("config: set seeds=[…] or seed=…, not both")
    if not seeds or len(set(seeds)) < len(seeds):
        raise S2SError(f"config: seeds={seeds} must be a list of numbers, such as [1,2,3], each once, or null")
    return list(seeds)

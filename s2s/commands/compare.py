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
from s2s.commands.console import overrides, plain
from s2s.commands.side_by_side import jobs_at_once, run_side_by_side
from s2s.commands.train import check, train_run
from s2s.decoding.translator import check_precision
from s2s.devices import pick_device
from s2s.errors import S2SError
from s2s.evaluation.scaling import read_scaling
from s2s.runs import Run, load
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)

# Keys of compare.yaml that train.yaml does not have, or must not share.
OWN = ("models", "seeds", "ladder", "output", "jobs", "scaling", "run_dir")


@dataclass(frozen=True)
class Planned:
    """One training: of this model, with this seed, into a folder of this name."""

    model: str
    seed: int
    folder: str
    values: dict[str, Any]  # its configuration


def compare(config: DictConfig) -> None:
    """Trains, evaluates, writes the report."""
    values = plain(config)
    output = Path(values["output"])
    if not (values["jobs"] is None or (isinstance(values["jobs"], int) and values["jobs"] > 0)):
        raise S2SError(f"config: jobs={values['jobs']} must be a number of models, at least 1, or null")
    if not (values["scaling"] is None or isinstance(values["scaling"], str)):
        raise S2SError(f"config: scaling={values['scaling']} must be a JSON file of benchmark.py task=scaling, or null")
    wanted = plan(values["models"], _seeds(values), values.get("ladder", {}))
    scaling = None if values["scaling"] is None else read_scaling(Path(values["scaling"]))
    for one in wanted:  # all mistakes are found before the first model trains for minutes
        check(one.values, RunDirectory(output / one.folder))
        check_precision(one.values["decoding"]["precision"], pick_device(one.values["device"]))
    at_once = values["jobs"] or jobs_at_once(pick_device(values["device"]), len(wanted))
    # Ladders climb, so their last models take longest; started first, they leave no core idle at the end.
    jobs = {one.folder: partial(train_and_evaluate, one.values, output / one.folder) for one in reversed(wanted)}
    code = run_side_by_side(jobs, at_once)
    if code:
        log.warning("stopped before the end; the same command goes on with what is missing")
        sys.exit(code)
    runs: dict[str, dict[int, Run]] = {}
    for one in wanted:
        run = load(output / one.folder, one.values["device"], one.values["trust"])
        runs.setdefault(one.model, {})[one.seed] = run
    write_report(runs, output / "report", at_once, scaling)


def train_and_evaluate(values: dict[str, Any], path: Path) -> None:
    """One model of the ladder; nothing is done twice."""
    train_run(values, RunDirectory(path))
    run = load(path, values["device"], values["trust"])
    evaluated(run, *test_set(run))


def plan(models: list[str], seeds: list[int], ladder: dict[str, list[str]]) -> list[Planned]:
    """Each model with each seed: configured by what `ladder` has for it, then by what was typed.

    One seed leaves no trace in the names of the folders, several are their ends.
    """
    typed = [o for o in overrides() if o.lstrip("+~").split("=", 1)[0].split(".")[0] not in OWN]
    if any(o.split("=", 1)[0] == "model" for o in typed):
        raise S2SError("config: compare.py takes models=[…], a list, in place of model=…")
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
            found.append(Planned(name, seed, name if len(seeds) == 1 else f"{name}-s{seed}", values))
    return found


def _seeds(values: dict[str, Any]) -> list[int]:
    """What every model is trained with."""
    seeds = values["seeds"]
    if seeds is None:
        return [values["seed"]]
    if any(o.split("=", 1)[0] == "seed" for o in overrides()):
        raise S2SError("config: set seeds=[…] or seed=…, not both")
    numbers = isinstance(seeds, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        raise S2SError(f"config: seeds={seeds} must be a list of numbers, such as [1,2,3], each once, or null")
    return list(seeds)

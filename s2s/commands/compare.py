"""`scripts/compare.py`: trains and evaluates a ladder of baselines on one data set, and compares them on a page.

Each model, with several seeds each training, is an ordinary run below `output`, the same as `train.py model=…` with the
same settings would make. Finished runs and evaluations are not repeated, so a stopped comparison continues.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from s2s.commands.compare_report import Planned, Report, evaluated, test_set
from s2s.commands.console import compose_values, key_of, overrides, plain
from s2s.commands.forecast import order, schedule, training_seconds
from s2s.commands.parallel_jobs import SIGNAL, run_parallel_jobs
from s2s.commands.precision import decide_precision, with_stored_precision
from s2s.commands.train import check_start, run_config, train_run
from s2s.config import RunConfig
from s2s.data.corpus import check_corpus, without_tests
from s2s.decoding.translator import check_precision
from s2s.devices import cpu_threads, jobs_at_once, pick_device
from s2s.durations import duration
from s2s.errors import S2SError
from s2s.evaluation.by_length import Evaluation
from s2s.evaluation.scaling import read_scaling
from s2s.files import print_text, user_path
from s2s.runs import Run, load
from s2s.schema import NonNegativeInt, PositiveInt, checked, nearest
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)

Size = Literal["quick", "full"]

ALL = "all"  # in a ladder: settings of all its models


@dataclass(frozen=True)
class CompareConfig:
    """What conf/compare.yaml adds to conf/train.yaml; see there for the meaning."""

    size: Size
    models: list[str]
    seeds: list[NonNegativeInt] | None
    output: str | None
    jobs: PositiveInt | None
    scaling: str | None
    ladder: dict[str, dict[str, list[str]]] = field(default_factory=dict)


OWN = tuple(one.name for one in fields(CompareConfig))  # keys of compare.yaml that train.yaml does not have


def compare(config: DictConfig) -> None:
    """Trains, evaluates, writes the report."""
    values = plain(config)
    own = checked(CompareConfig, {key: values[key] for key in OWN if key in values})
    suffix = "-full" if own.size == "full" and "quick" in own.ladder else ""  # each of several sizes has its folder
    output = user_path(f"runs/compare/{values['data']['name']}{suffix}" if own.output is None else own.output)
    planned = plan(own.models, _seeds(own.seeds, values["seed"]), own.ladder.get(own.size, {}), output)
    scaling = None if own.scaling is None else read_scaling(user_path(own.scaling))
    device = pick_device(values["device"])
    for one in planned:  # all mistakes are found before the first model trains for minutes
        check_start(one.config, RunDirectory(output / one.folder))
        if not one.config.data.tests:
            reason = without_tests(one.config.data)
            raise S2SError(f"{reason}: compare.py evaluates all models on the first test set, so choose data with one")
        check_precision(one.config.decoding.precision, device)
        check_corpus(one.config.data)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise S2SError(f"cannot make the folder output={output}: {error.strerror}; choose another") from error
    at_once = min(len(planned), own.jobs or jobs_at_once(device, len(planned)))
    with cpu_threads(torch.get_num_threads() // at_once):  # as the jobs will have
        decided = decide_precision([one.config for one in planned], device)
        planned = [replace(one, config=config) for one, config in zip(planned, decided, strict=True)]
        expected = {one.folder: training_seconds(one.config, output / one.folder, device) for one in planned}
    page, left = output / "report" / "index.html", _expectation(list(expected.values()), at_once)
    log.info("report: %s, from the first model on; %s", page, left)
    report = Report(planned, [folder for folder, seconds in expected.items() if seconds == 0], output, scaling)
    folders = {one.folder: one for one in planned}
    jobs = {name: partial(train_and_evaluate, folders[name].config, output / name) for name in order(expected, at_once)}
    code = run_parallel_jobs(jobs, at_once, report.add)
    if code > SIGNAL:
        log.warning("stopped before the end; the same command goes on with what is missing")
    if code:
        report.stop()
        sys.exit(code)
    print_text(report.table)


def _expectation(seconds: Sequence[float | None], at_once: int) -> str:
    """The expected duration, as a clause."""
    known = [one for one in seconds if one is not None]
    if len(known) < len(seconds):
        return "each model trains until validation no longer improves"
    return f"all of it takes about {duration(schedule(known, at_once))}"


def train_and_evaluate(config: RunConfig, path: Path) -> tuple[Run, Evaluation]:
    """Trains a model and evaluates it on its first test set; nothing is done twice."""
    train_run(config, RunDirectory(path))
    run = load(path, config.device, config.trust)
    return run, evaluated(run, *test_set(run))[0]


def plan(models: list[str], seeds: list[int], ladder: Mapping[str, list[str]], output: Path) -> list[Planned]:
    """Each model with each seed: settings of `ladder` for all models, then for this one, then the user's overrides."""
    user_overrides = [o for o in overrides() if key_of(o).split(".")[0] not in OWN]
    for key, instead in {"model": "models=[…], a list,", "run_dir": "output=…, the folder of all runs,"}.items():
        if key in map(key_of, user_overrides):
            raise S2SError(f"config: compare.py takes {instead} in place of {key}=…")
    if len(set(models)) < len(models) or not models:
        raise S2SError(f"config: models={models} must name at least one model, and each once")
    known = GlobalHydra.instance().config_loader().get_group_options("model")
    for name in models:
        if name not in known:  # Hydra would also take a path
            raise S2SError(f"config: models={name!r} is not one of: {nearest(name, known)}")
    planned = []
    for name in models:
        for seed in seeds:
            settings = [*ladder.get(ALL, []), *ladder.get(name, []), *user_overrides, f"model={name}", f"seed={seed}"]
            values = compose_values("train", settings)
            del values["run_dir"]
            folder = _folder(output, name, seed, len(seeds) > 1)
            config = with_stored_precision(run_config(values), RunDirectory(output / folder))
            planned.append(Planned(name, seed, folder, config))
    return planned


def _folder(output: Path, model: str, seed: int, several: bool) -> str:
    """The name of a run below `output`: the model's, with the seed at its end if there are several seeds.

    A model that was trained with this seed before keeps the name that it got then.
    """
    names = [f"{model}-s{seed}", model] if several else [model, f"{model}-s{seed}"]
    for name in names:
        there = RunDirectory(output / name)
        if there.config.exists() and there.load_config().get("seed") == seed:
            return name
    return names[0]


def _seeds(seeds: list[int] | None, seed: int) -> list[int]:
    """The seeds that every model is trained with."""
    if seeds is None:
        return [seed]
    if "seed" in map(key_of, overrides()):
        raise S2SError("config: set seeds=[…] or seed=…, not both")
    if not seeds or len(set(seeds)) < len(seeds):
        raise S2SError(f"config: seeds={seeds} must be a list of numbers, such as [1,2,3], each once, or null")
    return seeds

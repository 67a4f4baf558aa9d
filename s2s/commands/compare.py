"""`scripts/compare.py`: trains and evaluates a ladder of models on one data set, and writes one page about them.

Each model is an ordinary run below `output`, made as `train.py model=…` with the same further settings would make it.
What is trained and evaluated already is not done again, so a stopped comparison goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose
from omegaconf import DictConfig

from s2s.commands.console import overrides, plain
from s2s.commands.evaluate import evaluate_run, test_sets
from s2s.commands.side_by_side import jobs_at_once, run_side_by_side
from s2s.commands.train import check, train_run
from s2s.data.lengths import length_in_words
from s2s.decoding.translator import check_precision
from s2s.devices import pick_device
from s2s.errors import S2SError
from s2s.evaluation.by_length import Evaluation, assign, hash_of_test_set
from s2s.evaluation.report.page import AttentionMap, System, TestSet, write_page
from s2s.evaluation.report.picture import Series, length_picture
from s2s.evaluation.report.table import systems_table
from s2s.evaluation.scaling import Scaling, read_scaling
from s2s.files import read_json
from s2s.models import count_parameters
from s2s.runs import Run, load
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)

# Keys of compare.yaml that train.yaml does not have, or must not share.
OWN = ("models", "ladder", "output", "jobs", "scaling", "run_dir")


def compare(config: DictConfig) -> None:
    """Trains, evaluates, writes the report."""
    values = plain(config)
    output = Path(values["output"])
    wanted = configurations(values["models"], values.get("ladder", {}))
    if not (values["jobs"] is None or (isinstance(values["jobs"], int) and values["jobs"] > 0)):
        raise S2SError(f"config: jobs={values['jobs']} must be a number of models, at least 1, or null")
    if not (values["scaling"] is None or isinstance(values["scaling"], str)):
        raise S2SError(f"config: scaling={values['scaling']} must be a JSON file of benchmark.py task=scaling, or null")
    scaling = None if values["scaling"] is None else read_scaling(Path(values["scaling"]))
    for name, one in wanted.items():  # all mistakes are found before the first model trains for minutes
        check(one, RunDirectory(output / name))
        check_precision(one["decoding"]["precision"], pick_device(one["device"]))
    at_once = values["jobs"] or jobs_at_once(pick_device(values["device"]), len(wanted))
    # Ladders climb, so their last models take longest; started first, they leave no core idle at the end.
    jobs = {name: partial(train_and_evaluate, one, output / name) for name, one in reversed(wanted.items())}
    code = run_side_by_side(jobs, at_once)
    if code:
        log.warning("stopped before the end; the same command goes on with what is missing")
        sys.exit(code)
    runs = {name: load(output / name, one["device"], one["trust"]) for name, one in wanted.items()}
    write_report(runs, output / "report", at_once, scaling)


def train_and_evaluate(values: dict[str, Any], path: Path) -> None:
    """One model of the ladder; nothing is done twice."""
    train_run(values, RunDirectory(path))
    run = load(path, values["device"], values["trust"])
    evaluated(run, *test_set(run))


def configurations(models: list[str], ladder: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """The training configuration of each model: what `ladder` has for it and what was typed, with this model."""
    typed = [o for o in overrides() if o.lstrip("+~").split("=", 1)[0].split(".")[0] not in OWN]
    if any(o.split("=", 1)[0] == "model" for o in typed):
        raise S2SError("config: compare.py takes models=[…], a list, in place of model=…")
    if len(set(models)) < len(models) or not models:
        raise S2SError(f"config: models={models} must name at least one model, and each once")
    for name, settings in ladder.items():
        if not (isinstance(settings, list) and all(isinstance(one, str) for one in settings)):
            raise S2SError(f"config: ladder.{name}={settings} must be a list of settings, such as [optim.lr=1e-3]")
    found = {}
    for name in models:
        found[name] = plain(compose("train", [*ladder.get(name, []), *typed, f"model={name}"]))
        del found[name]["run_dir"]
    return found


def write_report(runs: dict[str, Run], folder: Path, at_once: int, scaling: Scaling | None) -> None:
    """The page, the picture and the table of runs that were trained `at_once` at a time.

    Args:
        scaling: a measurement for the page to show as well.
    """
    first = next(iter(runs.values()))
    name, test = test_set(first)
    systems = [_system(label, run, name, test) for label, run in runs.items()]
    samples = _samples(test)
    attentions = [one for label, run in runs.items() for one in _attention(label, run, test, samples)]
    series = [Series(one.name, one.evaluation, one.family) for one in systems]
    for suffix in ("png", "svg"):
        length_picture(series, folder / f"length.{suffix}")
    write_page(
        folder / "index.html",
        f"{first.config.data.source_language} → {first.config.data.target_language}, {first.config.data.name}",
        systems,
        test,
        samples=samples,
        attentions=attentions,
        command=shlex.join(["python", "scripts/compare.py", *overrides()]),
        timing=f"Times and speeds are those of {at_once} models trained side by side." if at_once > 1 else "",
        scaling=scaling,
    )
    sys.stdout.write(systems_table({one.name: one.evaluation for one in systems}) + "\n")
    sys.stdout.write(f"\nopen {folder / 'index.html'} in a browser; the picture alone is {folder / 'length.png'}\n")


def test_set(run: Run) -> tuple[str, TestSet]:
    """The first test set of the run's data."""
    return next(iter(test_sets(run.config.data, None, run.config.evaluation).items()))


def _system(label: str, run: Run, name: str, test: TestSet) -> System:
    result, hypotheses, seconds = evaluated(run, name, test)
    rows = [json.loads(line) for line in run.directory.metrics.read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if row["event"] == "train"]
    total, inner = count_parameters(run.model)
    return System(
        name=label,
        family=run.model.reads,
        evaluation=result,
        hypotheses=hypotheses,
        parameters=total,
        non_embedding_parameters=inner,
        train_seconds=steps[-1]["seconds"] if steps else None,
        tokens_per_s=steps[-1]["tokens"] / steps[-1]["seconds"] if steps else None,
        tokens_seen=steps[-1]["tokens"] if steps else None,
        curve=[(row["step"], row["seconds"], row["valid_bleu"]) for row in rows if row["event"] == "valid"],
        config=run.directory.load_config(),
        decode_seconds=seconds,
    )


def evaluated(run: Run, name: str, test: TestSet) -> tuple[Evaluation, list[str], float]:
    """The stored evaluation if it is of these weights, settings and test set; a new one otherwise."""
    stored, text = run.directory.evaluation / f"{name}.json", run.directory.evaluation / f"{name}.hyp"
    if stored.exists() and text.exists() and stored.stat().st_mtime > run.directory.weights.stat().st_mtime:
        values = read_json(stored)
        hypotheses = text.read_text(encoding="utf-8").split("\n")[:-1]
        same = values["test_set"]["sha256"] == hash_of_test_set(test.sources, test.references)
        if same and values["decoding"] == dataclasses.asdict(run.config.decoding) and _same_bins(values, test):
            return Evaluation.from_json(values), hypotheses, values["decoding_seconds"]
    return evaluate_run(run, name, test, run.config.decoding)


def _same_bins(values: dict[str, Any], test: TestSet) -> bool:
    return [row["max"] for row in values["by_length"]] == [*test.config.bins, None]


def _samples(test: TestSet) -> list[int]:
    """One sentence of each length bin, in the middle of the bin's lengths."""
    lengths = [length_in_words(text, test.source_language) for text in test.sources]
    chosen = []
    for members in assign(lengths, test.config.bins):
        if len(members):
            ordered = sorted(members, key=lambda i: (lengths[i], i))
            chosen.append(int(ordered[len(ordered) // 2]))
    return chosen


def _attention(label: str, run: Run, test: TestSet, samples: list[int]) -> list[AttentionMap]:
    """Heat maps of two of the samples, a short and a longer one; several heads are averaged."""
    maps = []
    translator = run.translator()
    for index in samples[:2]:
        source = test.sources[index]
        target = translator.translate([source])[0]
        seen = translator.attention(source, target)
        if not seen.weights:
            continue
        weights = np.mean([matrix.numpy() for matrix in seen.weights.values()], axis=0)
        kind = "attention" if len(seen.weights) == 1 else f"mean of {len(seen.weights)} heads"
        maps.append(AttentionMap(label, kind, seen.source, seen.target, weights))
    return maps

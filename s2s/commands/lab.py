"""`scripts/lab.py`: the lecture note's claims as experiments, and one page of all of them.

Results are cached below `output`, so a stopped lab resumes, and changed settings run only the jobs that they affect.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig

from s2s.commands.compare import train_and_evaluate
from s2s.commands.console import compose_values, overrides, plain
from s2s.commands.lab_settings import experiments_of
from s2s.commands.parallel_jobs import SIGNAL, run_parallel_jobs
from s2s.commands.precision import decide_precision
from s2s.commands.train import run_config, train_run
from s2s.devices import cpu_threads, pick_device
from s2s.dtype_choice import DTYPES, Dtype
from s2s.evaluation.report.table import align
from s2s.files import print_text, read_json, user_path, write_json
from s2s.lab.page import write_page
from s2s.lab.results import ExperimentResult, run_experiment
from s2s.lab.runner import JobRunner, StoppedError
from s2s.models import count_parameters
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)


def lab(config: DictConfig) -> None:
    """Runs the selected experiments, prints their findings, and writes the page."""
    values = plain(config)
    size, experiments = experiments_of(values, training_configuration)
    output = user_path(values["output"])
    precision = lab_precision(output / "precision.json")
    runner = JobRunner(output, training_configuration, trained, run_parallel_jobs, values["jobs"], precision)
    results = []
    for number, (experiment, settings) in enumerate(experiments.values(), 1):
        log.info("%d of %d: %s", number, len(experiments), experiment.description.title)
        try:
            results.append(run_experiment(experiment, size, settings, runner, output / experiment.name))
        except StoppedError as error:
            if error.exit_code > SIGNAL:
                log.warning("stopped before the end; the same command resumes")
            sys.exit(error.exit_code)
        print_text(as_text(results[-1]) + "\n\n")
    write_page(output / "index.html", results, shlex.join(["python", "scripts/lab.py", *overrides()]), precision)
    print_text(f"open {output / 'index.html'} in a browser\n")


def lab_precision(path: Path) -> Dtype:
    """The dtype of `training.precision=auto` in all experiments: chosen at the first start, then read from the file."""
    if path.exists() and (stored := read_json(path).get("precision")) in DTYPES:
        return cast(Dtype, stored)
    config = run_config(training_configuration([]))
    with cpu_threads(1):  # of a job
        (decided,) = decide_precision([config], pick_device(config.device))
    write_json(path, {"precision": decided.training.precision})
    return cast(Dtype, decided.training.precision)


def training_configuration(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of `scripts/train.py` with these overrides."""
    values = compose_values("train", overrides)
    del values["run_dir"]
    return values


def trained(values: dict[str, Any], path: str) -> dict[str, Any]:
    """Trains and evaluates a translation model, unless that is done already; a pre-trained one is validated alone.

    Returns:
        run: its directory; inner_parameters: without embeddings; evaluation: of the first test set, the fields of
        `Evaluation`; or validation: the metrics of the last one.
    """
    config, directory = run_config(values), RunDirectory(path)
    if config.objective.type != "translation":
        train_run(config, directory)
        lines = map(json.loads, directory.metrics.read_text(encoding="utf-8").splitlines())
        return {"run": path, "validation": [line for line in lines if line["event"] == "valid"][-1]}
    run, evaluation = train_and_evaluate(config, Path(path))
    return {"run": path, "inner_parameters": count_parameters(run.model)[1], "evaluation": evaluation.to_json()}


def as_text(result: ExperimentResult) -> str:
    """An experiment's result for the terminal: claim, table, findings."""
    description, findings = result.experiment.description, result.findings
    lines = [description.title, f"“{description.claim}”", ""]
    if findings.rows:
        lines += [align([list(findings.columns), *map(list, findings.rows)]), ""]
    lines += findings.sentences
    if findings.conclusion is not None:
        lines.append(f"{findings.conclusion}: {findings.reason}")
    return "\n".join(lines)

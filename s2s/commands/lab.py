"""`scripts/lab.py`: the lecture note's claims as experiments, and one page about them.

Everything that takes time is kept below `output`, so a stopped lab goes on where it was, and one whose settings were
changed does only what changed.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose
from omegaconf import DictConfig

from s2s.commands.compare import train_and_evaluate
from s2s.commands.compare_report import evaluated, test_set
from s2s.commands.console import overrides, plain
from s2s.commands.lab_settings import asked
from s2s.commands.precision import decide_precision
from s2s.commands.side_by_side import SIGNAL, run_side_by_side
from s2s.commands.train import run_config
from s2s.devices import cpu_threads, pick_device
from s2s.evaluation.report.table import align
from s2s.files import read_json, write_json
from s2s.lab.bench import Bench, StoppedError
from s2s.lab.notebook import Entry, carry_out
from s2s.lab.page import write_page
from s2s.models import count_parameters
from s2s.precision import DTYPES, Dtype
from s2s.runs import load

log = logging.getLogger(__name__)


def lab(config: DictConfig) -> None:
    """Carries out the experiments that are asked for, prints what they found, and writes the page."""
    values = plain(config)
    size, chosen = asked(values, training_configuration)
    output = Path(values["output"])
    precision = decided_once(output / "precision.json")
    bench = Bench(output, training_configuration, trained, run_side_by_side, values["jobs"], precision)
    entries = []
    for number, (experiment, settings) in enumerate(chosen.values(), 1):
        log.info("%d of %d: %s", number, len(chosen), experiment.title)
        try:
            entry = carry_out(experiment, size, settings, bench, output / experiment.name)
        except StoppedError as stopped:
            if stopped.exit_code > SIGNAL:
                log.warning("stopped before the end; the same command goes on with what is missing")
            sys.exit(stopped.exit_code)
        entries.append(entry)
        sys.stdout.write(in_words(entry) + "\n\n")
        sys.stdout.flush()
    write_page(output / "index.html", entries, shlex.join(["python", "scripts/lab.py", *overrides()]), precision)
    sys.stdout.write(f"open {output / 'index.html'} in a browser\n")


def decided_once(path: Path) -> Dtype:
    """What `training.precision=auto` is in all experiments: decided at the first start, kept beside their results."""
    if path.exists():
        kept = read_json(path).get("precision")
        if kept in DTYPES:
            return cast(Dtype, kept)
    config = run_config(training_configuration([]))
    with cpu_threads(1):  # of a job
        (decided,) = decide_precision([config], pick_device(config.device))
    write_json(path, {"precision": decided.training.precision})
    return cast(Dtype, decided.training.precision)


def training_configuration(typed: Sequence[str]) -> dict[str, Any]:
    """What `scripts/train.py` would train if this were typed after it."""
    values = plain(compose("train", list(typed)))
    del values["run_dir"]
    return values


def trained(values: dict[str, Any], path: str) -> dict[str, Any]:
    """Trains and evaluates a translation model, unless that is done already.

    Returns:
        run: its directory; inner_parameters: without embeddings; evaluation: of the first test set, as `Evaluation`
        has it.
    """
    config = run_config(values)
    train_and_evaluate(config, Path(path))
    run = load(path, config.device, config.trust)
    return {
        "run": path,
        "inner_parameters": count_parameters(run.model)[1],
        "evaluation": evaluated(run, *test_set(run))[0].to_json(),
    }


def in_words(entry: Entry) -> str:
    """An experiment for the terminal: the claim, the numbers, what they say."""
    found = entry.findings
    lines = [entry.experiment.title, f"“{entry.experiment.claim}”", ""]
    if found.rows:
        lines += [align([list(found.columns), *map(list, found.rows)]), ""]
    lines += found.sentences
    if found.verdict is not None:
        lines.append(f"{found.verdict}: {found.reason}")
    return "\n".join(lines)

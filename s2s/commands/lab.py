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
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from s2s.commands.compare import train_and_evaluate
from s2s.commands.compare_report import evaluated, test_set
from s2s.commands.console import overrides, plain
from s2s.commands.lab_settings import asked
from s2s.commands.side_by_side import SIGNAL, run_side_by_side
from s2s.evaluation.report.table import align
from s2s.lab.bench import Bench, StoppedError
from s2s.lab.notebook import Entry, carry_out
from s2s.lab.page import write_page
from s2s.models import count_parameters
from s2s.runs import load

log = logging.getLogger(__name__)

# For conf/lab.yaml: several lists as one.
OmegaConf.register_new_resolver("joined", lambda *lists: [item for one in lists for item in one], replace=True)


def lab(config: DictConfig) -> None:
    """Carries out the experiments that are asked for, prints what they found, and writes the page."""
    values = plain(config)
    size, chosen = asked(values, training_configuration)
    output = Path(values["output"])
    bench = Bench(output, training_configuration, trained, run_side_by_side, values["jobs"])
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
    write_page(output / "index.html", entries, shlex.join(["python", "scripts/lab.py", *overrides()]))
    sys.stdout.write(f"open {output / 'index.html'} in a browser\n")


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
    train_and_evaluate(values, Path(path))
    run = load(path, values["device"], values["trust"])
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

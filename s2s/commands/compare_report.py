"""The report of `scripts/compare.py`: from run directories to the page, its pictures and data."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2s.code_digest import SCORES, TRAINING, code_digest
from s2s.commands.console import overrides
from s2s.commands.evaluate import evaluate_run, made_by, score_run, test_sets
from s2s.config import RunConfig
from s2s.data.reading import file_lines
from s2s.devices import cpu_threads
from s2s.errors import S2SError
from s2s.evaluation.by_length import Evaluation, hash_of_lines, hash_of_test_set
from s2s.evaluation.report.attention import AttentionMap
from s2s.evaluation.report.files import write_files
from s2s.evaluation.report.page import write_page
from s2s.evaluation.report.palette import family_of
from s2s.evaluation.report.results import Results, System, Training, gather
from s2s.evaluation.report.sentences import by_bins, evenly
from s2s.evaluation.report.table import systems_table
from s2s.evaluation.scaling import Scaling
from s2s.evaluation.test_set import TestSet
from s2s.files import read_json, read_json_lines
from s2s.models import count_parameters
from s2s.runs import Run, load
from s2s.training.weights import read_info

log = logging.getLogger(__name__)

ATTENTION_SENTENCES = 30


@dataclass(frozen=True)
class Planned:
    """One training: a model, a seed, and the name of the run directory."""

    model: str
    seed: int
    folder: str
    config: RunConfig


class Report:
    """The page, the pictures, the data and the table of the finished models, rewritten after each further one.

    Args:
        planned: all trainings, in the order of the page.
        done: folders of trainings that were finished before.
        output: folder of the runs; the report is in its subfolder `report`.
        scaling: a measurement that the page shows, too.

    Attributes:
        table: the scores of the finished models, as text.
    """

    def __init__(
        self, planned: Sequence[Planned], done: Collection[str], output: Path, scaling: Scaling | None
    ) -> None:
        self._planned, self._output, self._scaling = planned, output, scaling
        self._unfinished = {one.folder for one in planned} - set(done)
        self._runs: dict[str, Run] = {}
        self._attention: dict[tuple[str, int], AttentionMap] = {}
        self.table = ""

    def add(self, folder: str) -> None:
        """Adds a finished training, and rewrites the report if it was its model's last one."""
        one = next(one for one in self._planned if one.folder == folder)
        self._runs[folder] = load(self._output / folder, one.config.device, one.config.trust)
        self._unfinished.discard(folder)
        complete, missing = self._models()
        if one.model in complete and (self._unfinished or not missing):  # else the next one follows at once
            with cpu_threads(1):  # beside the jobs, which have the other cores
                self._write(complete, missing)

    def stop(self) -> None:
        """Rewrites a page that lists missing models: they will not come now, so it must not wait for them."""
        complete, missing = self._models()
        if self.table and missing:
            self._write(complete, missing, stopped=True)

    def _models(self) -> tuple[dict[str, dict[int, Run]], list[str]]:
        """The models of which all trainings are done, by seed, and the names of the others."""
        complete: dict[str, dict[int, Run]] = {}
        missing = []
        for model, group in itertools.groupby(self._planned, key=lambda one: one.model):
            trainings = list(group)
            if all(one.folder in self._runs for one in trainings):
                complete[model] = {one.seed: self._runs[one.folder] for one in trainings}
            else:
                missing.append(model)
        return complete, missing

    def _write(self, runs: dict[str, dict[int, Run]], missing: list[str], stopped: bool = False) -> None:
        """Writes the page and, once no model is missing, the files beside it.

        Args:
            runs: by model and seed.
            missing: models that are not trained yet; the page lists them, and reloads itself.
            stopped: they are not being trained now, and the page does not reload itself.
        """
        first = next(iter(next(iter(runs.values())).values()))
        name, test = test_set(first)
        systems = [_system(label, trained, name, test) for label, trained in runs.items()]
        count = f"{len(systems)} of {len(systems) + len(missing)}" if missing else f"{len(systems)}"
        log.info("report: %s systems on %d sentences", count, len(test.sources))
        results = gather(systems, test)
        folder = self._output / "report"
        if not missing:
            write_files(folder, results)
        write_page(
            folder / "index.html",
            f"{first.config.data.source_language} → {first.config.data.target_language}, {first.config.data.name}",
            results,
            attentions=self._maps(runs, results),
            command=shlex.join(["python", "scripts/compare.py", *overrides()]),
            scaling=self._scaling,
            missing=missing,
            stopped=stopped,
        )
        self.table = (
            f"{systems_table(results.evaluations)}\n\n"
            f"open {folder / 'index.html'} in a browser; pictures and data are beside it\n"
        )

    def _maps(self, runs: Mapping[str, Mapping[int, Run]], results: Results) -> list[AttentionMap]:
        """Attention weights of each system that has them, for sentences of all lengths up to the training limit."""
        test = results.test
        bins = by_bins(test.lengths(), test.config.bins, results.first.training_limit)
        sentences = sorted(evenly(bins, ATTENTION_SENTENCES))
        maps = []
        for system in (one for one in results.systems if one.family != "fixed"):
            translator = next(iter(runs[system.name].values())).translator()
            for index in sentences:
                key = system.name, index
                if key not in self._attention:
                    attention = translator.attention(test.sources[index], system.trainings[0].hypotheses[index])
                    heads = {name: weights.numpy() for name, weights in attention.weights.items()}
                    self._attention[key] = AttentionMap(*key, attention.source, attention.target, heads)
                maps.append(self._attention[key])
        return [one for one in maps if one.heads]


def test_set(run: Run) -> tuple[str, TestSet]:
    """The first test set of the run's data, with its name."""
    return next(iter(test_sets(run.config.data, None, run.config.evaluation).items()))


def evaluated(run: Run, name: str, test: TestSet) -> tuple[Evaluation, list[str], float]:
    """The evaluation, the hypotheses and the seconds of decoding, from the run directory where they are still valid.

    A change of weights, decoding, test set or the code of these makes new translations; a change of the evaluation or
    of its code makes new scores.
    """
    translated = _translated(run, name, test)
    if translated is None:
        return evaluate_run(run, name, test, run.config.decoding)
    values, hypotheses = translated
    seconds = values["decoding_seconds"]
    same_code = values.get("scores_code") == code_digest(*SCORES)
    if same_code and values.get("evaluation") == dataclasses.asdict(test.config):
        with contextlib.suppress(S2SError):  # an older version stored less
            return Evaluation.from_json(values), hypotheses, seconds
    return score_run(run, name, test, run.config.decoding, hypotheses, seconds), hypotheses, seconds


def _translated(run: Run, name: str, test: TestSet) -> tuple[dict[str, Any], list[str]] | None:
    """The stored result of a test set and its translations; None unless they are of this run, decoding and text."""
    stored, text = run.directory.evaluation / f"{name}.json", run.directory.evaluation / f"{name}.hyp"
    try:
        values, hypotheses = read_json(stored), list(file_lines(text))
    except S2SError:  # missing or damaged
        return None
    expected = {
        "test_set": {"name": name, "sha256": hash_of_test_set(test.sources, test.references)},
        "decoding": dataclasses.asdict(run.config.decoding),
        "hypotheses_sha256": hash_of_lines(hypotheses),
        **made_by(run),
    }
    known = isinstance(values, dict) and "decoding_seconds" in values
    same = known and all(values.get(key) == value for key, value in expected.items())
    return (values, hypotheses) if same and len(hypotheses) == len(test.sources) else None


def _system(label: str, runs: Mapping[int, Run], name: str, test: TestSet) -> System:
    first = next(iter(runs.values()))
    total, inner = count_parameters(first.model)
    trainings = [_training(seed, run, name, test) for seed, run in runs.items()]
    family, mixes = family_of(first.model.reads, first.model.mixes), first.model.mixes
    return System(label, family, mixes, total, inner, first.directory.load_config(), trainings)


def _training(seed: int, run: Run, name: str, test: TestSet) -> Training:
    result, hypotheses, seconds = evaluated(run, name, test)
    rows = read_json_lines(run.directory.metrics)
    steps = [row for row in rows if row.get("event") == "train"]
    last = steps[-1] if steps else {}
    code = read_info(run.directory.weights).get("code")  # older runs have none
    memory = [row["memory"] for row in steps if row.get("memory") is not None]  # older runs have none
    return Training(
        seed=seed,
        evaluation=result,
        hypotheses=hypotheses,
        train_seconds=last.get("seconds"),
        tokens_per_s=last["tokens"] / last["seconds"] if last else None,
        tokens_seen=last.get("tokens"),
        memory=max(memory, default=None),
        threads=last.get("threads"),
        decode_seconds=seconds,
        curve=[(row["step"], row["seconds"], row["valid_bleu"]) for row in rows if row.get("event") == "valid"],
        other_code=code is not None and code != code_digest(*TRAINING, *run.config.trust),
    )

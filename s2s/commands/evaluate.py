"""`scripts/evaluate.py`: BLEU and chrF++ of a run by sentence length, and the quality loss at lower precision."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from s2s.benchmark.machine import facts
from s2s.code_digest import SCORES, TRANSLATIONS, code_digest
from s2s.commands.console import overridden_section, plain
from s2s.commands.translate import reading
from s2s.config import DataConfig, DecodingConfig, EvaluationConfig, Precision
from s2s.data.corpus import load_corpus, without_tests
from s2s.data.reading import digest, read_lines
from s2s.decoding.translator import check_precision
from s2s.devices import set_arithmetic
from s2s.errors import S2SError
from s2s.evaluation.by_length import (
    SIDES,
    Evaluation,
    Side,
    check_scoring,
    evaluate_translations,
    hash_of_lines,
    hash_of_test_set,
)
from s2s.evaluation.precision_comparison import PrecisionComparison, compare_precisions
from s2s.evaluation.report.length import length_picture
from s2s.evaluation.report.prose import SystemScores
from s2s.evaluation.report.table import evaluation_table, precisions_table
from s2s.evaluation.test_set import TestSet
from s2s.files import atomic_write, cannot_write, print_text, read_json, user_path, write_json
from s2s.runs import Run, changed, load
from s2s.schema import checked
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)

Decoded = tuple[list[str], float]  # translations, and the seconds that they took


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """conf/evaluate.yaml; see there for the meaning."""

    run: str
    splits: list[str] | None
    source: str | None
    reference: str | None
    precisions: list[Precision] | None
    device: str
    trust: list[str]
    decoding: dict[str, Any]
    evaluation: dict[str, Any]


def evaluate(config: DictConfig) -> None:
    """Evaluates a run; tables go to stdout, files to the run's `evaluation/`."""
    sections = {name: overridden_section(config, name) for name in ("decoding", "evaluation")}
    own = checked(EvaluateConfig, plain(config) | sections)
    if (own.source is None) != (own.reference is None):
        raise S2SError("config: source=… and reference=… belong together: set both, or none for the run's test sets")
    run = load(own.run, own.device, own.trust)
    if (objective := run.config.objective.type) != "translation":
        raise S2SError(f"{own.run} was trained with objective={objective} and translates nothing: name another run")
    set_arithmetic(run.model.device, run.config.deterministic, run.config.tf32)
    decoding = changed(run.config.decoding, own.decoding, "decoding")
    evaluation = changed(run.config.evaluation, own.evaluation, "evaluation")
    settings = [dataclasses.replace(decoding, precision=p) for p in dict.fromkeys(own.precisions or [])]
    for one in (decoding, *settings):  # before minutes of work
        check_precision(one.precision, run.model.device)
    check_scoring(evaluation, run.config.data.target_language)
    if own.source is None or own.reference is None:
        tests = test_sets(run.config.data, own.splits, evaluation)
    else:
        test = _own_files(run, own.source, own.reference, evaluation)
        tests = {_own_name(run, user_path(own.source).name, test): test}
    for number, (name, test) in enumerate(tests.items()):
        result, hypotheses, seconds = evaluate_run(run, name, test, decoding)
        print_text(("\n" if number else "") + f"{name}: {run.directory.path}\n{evaluation_table(result)}\n")
        if settings:
            known = {decoding.precision: (hypotheses, seconds)}
            print_text(f"\n{precisions_table(evaluate_precisions(run, name, test, settings, known))}\n")


def test_sets(data: DataConfig, splits: Sequence[str] | None, config: EvaluationConfig) -> dict[str, TestSet]:
    """These splits of a data set, or all of its test sets, by name.

    Raises:
        S2SError: there is none; or as `load_corpus`.
    """
    corpus = load_corpus(data, splits or ["test"])
    if not corpus.splits:
        raise S2SError(
            f"{without_tests(data)}, so there is nothing to evaluate on: name a split (splits=[validation]), or files "
            "(source=… reference=…)"
        )
    return {
        name: TestSet(list(split.source), list(split.target), data.source_language, data.target_language, config)
        for name, split in corpus.splits.items()
    }


def _own_files(run: Run, source: str, reference: str, config: EvaluationConfig) -> TestSet:
    sides = []
    for path in (source, reference):
        with reading(path) as (stream, name):
            sides.append(list(read_lines(stream, name)))
    if len(sides[0]) != len(sides[1]):
        raise S2SError(f"{source} has {len(sides[0])} lines, {reference} has {len(sides[1])}: they must match")
    return TestSet(sides[0], sides[1], run.config.data.source_language, run.config.data.target_language, config)


def _own_name(run: Run, name: str, test: TestSet) -> str:
    """The name of a user's own test set: that of its file, with a digest of the text where other text has that name."""
    text = hash_of_test_set(test.sources, test.references)
    path = run.directory.evaluation / f"{name}.json"
    splits = {"train", "validation", "test", *run.config.data.tests}
    taken = name in splits
    if path.exists():
        stored = read_json(path)
        test_set = stored.get("test_set") if isinstance(stored, dict) else None
        taken = taken or not isinstance(test_set, dict) or test_set.get("sha256") != text
    return f"{name}-{text[:8]}" if taken else name


def evaluate_run(run: Run, name: str, test: TestSet, decoding: DecodingConfig) -> tuple[Evaluation, list[str], float]:
    """Translates and scores a test set and stores the result in the run directory, as `evaluation/<name>.*`.

    Returns:
        The evaluation, the hypotheses, and the seconds that decoding took.
    """
    hypotheses, seconds = _decode(run, test, decoding)
    folder = run.directory.evaluation
    scores = folder / f"{name}.json"
    try:
        scores.unlink(missing_ok=True)  # scores never stand beside translations of another time
    except OSError as error:
        raise cannot_write(scores, error) from error
    _write_lines(folder / f"{name}.hyp", hypotheses)
    return score_run(run, name, test, decoding, hypotheses, seconds), hypotheses, seconds


def score_run(
    run: Run, name: str, test: TestSet, decoding: DecodingConfig, hypotheses: list[str], seconds: float
) -> Evaluation:
    """Scores translations of a test set, and stores the result, the decoding time and a picture."""
    limits = training_limits(run.directory)
    result = evaluate_translations(
        test,
        hypotheses,
        training_limit=limits["source"],
        reference_limit=limits["reference"],
        decoding=dataclasses.asdict(decoding),
        name=name,
    )
    folder = run.directory.evaluation
    write_json(
        folder / f"{name}.json",
        result.to_json()
        | {
            "decoding_seconds": round(seconds, 2),
            "evaluation": dataclasses.asdict(test.config),
            "hypotheses_sha256": hash_of_lines(hypotheses),
            **made_by(run),
            "scores_code": code_digest(*SCORES),
        },
    )
    length_picture([SystemScores(run.config.model["name"], run.model.reads, result)], folder / f"{name}.png")
    score = "n/a" if result.bleu is None else f"{result.bleu:.2f}"
    log.info("%s: BLEU %s in %.0f s; wrote %s.json, .hyp, .png", name, score, seconds, folder / name)
    return result


def made_by(run: Run) -> dict[str, str]:
    """The weights and the code that make the translations of a run, for its stored results."""
    return {
        "weights_sha256": digest([run.directory.weights]),
        "translations_code": code_digest(*TRANSLATIONS, *run.config.trust),
    }


def evaluate_precisions(
    run: Run, name: str, test: TestSet, settings: Sequence[DecodingConfig], known: dict[Precision, Decoded]
) -> PrecisionComparison:
    """Translates a test set in several precisions and stores what they cost, as `evaluation/<name>.precisions.json`.

    Args:
        settings: alike but for the precision; the first is what the others are compared with.
        known: translations that are there already.
    """
    decoded: dict[str, Decoded] = {}
    for one in settings:
        decoded[one.precision] = known.get(one.precision) or _decode(run, test, one)
        _write_lines(run.directory.evaluation / f"{name}.{one.precision}.hyp", decoded[one.precision][0])
    result = compare_precisions(
        decoded,
        test,
        decoding=dataclasses.asdict(settings[0]),
        machine=facts(run.model.device),
        name=name,
    )
    path = run.directory.evaluation / f"{name}.precisions.json"
    write_json(path, result.to_json())
    log.info("%s: compared precisions %s; wrote %s", name, ", ".join(decoded), path)
    return result


def _decode(run: Run, test: TestSet, decoding: DecodingConfig) -> Decoded:
    """The translations of a test set, and the seconds of decoding."""
    started = time.monotonic()
    translator = run.translator(**dataclasses.asdict(decoding))
    hypotheses = translator.translate(test.sources, progress=sys.stderr.isatty())
    return hypotheses, time.monotonic() - started


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines))


def training_limits(directory: RunDirectory) -> dict[Side, int | None]:
    """The longest text of each side seen in training, in the unit of the evaluation; None if the run does not say."""
    path = directory.path / "corpus.json"
    if not path.exists():
        return dict.fromkeys(SIDES)
    values = read_json(path)
    try:
        source, reference = values["training_limit"], values["splits"]["train"]["target"]["lengths"]["max"]
        if type(source) is int and type(reference) is int:
            return {"source": source, "reference": reference}
    except (KeyError, TypeError):
        pass
    raise S2SError(f"{path} is damaged: put it back, or delete it to do without the training lengths")

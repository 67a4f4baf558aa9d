"""Files beside the page: the length picture in all views as PNG and SVG, and all numbers as CSV and JSON.

length.png, length-chrf.svg, length-ratio-by-reference.png …   the picture
length.csv      a row for each system, seed, side, bin and metric
systems.csv     a row for each system and seed: scores, parameters, training
pairs.csv       a row for each system, baseline and metric: differences on the whole test set
pairs_by_length.csv   a row for each pair in the headline and the page's table of pairs, and bin of source length
curves.csv      validation BLEU during training
report.json     all of these
sentences.csv, sentences.json   every test sentence with every output
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from s2s.data.lengths import length_in_words
from s2s.evaluation.bleu import METRICS
from s2s.evaluation.by_length import SIDES, Evaluation
from s2s.evaluation.report.length import VIEWS, length_picture
from s2s.evaluation.report.results import Results, System
from s2s.evaluation.report.sentences import sentence_scores
from s2s.files import atomic_write, write_json

Row = dict[str, Any]


def write_files(folder: Path, results: Results) -> None:
    """Writes all files.

    Raises:
        S2SError: one cannot be written.
    """
    for view in VIEWS:
        length_picture(results.scores, *(folder / f"{view.stem}.{kind}" for kind in ("png", "svg")), view=view)
    sentences = sentence_rows(results)
    write_json(folder / "report.json", as_json(results))
    texts = {f"{name}.csv": as_csv(rows) for name, rows in (tables(results) | {"sentences": sentences}).items()}
    texts["sentences.json"] = json.dumps(sentences, ensure_ascii=False, indent=1) + "\n"
    for name, text in texts.items():
        with atomic_write(folder / name, "wb") as file:
            file.write(text.encode("utf-8", "replace"))


def tables(results: Results) -> dict[str, list[Row]]:
    """Returns the tables by name, without the sentences."""
    return {
        "length": length_rows(results),
        "systems": system_rows(results),
        "pairs": pair_rows(results),
        "pairs_by_length": pair_by_length_rows(results),
        "curves": curve_rows(results),
    }


def as_json(results: Results) -> dict[str, Any]:
    """Returns the contents of `report.json`."""
    first = results.first
    return {
        "test_set": first.test_set,
        "source_language": first.source_language,
        "target_language": first.target_language,
        "sentences": first.sentences,
        "seeds": results.seeds,
        "signatures": first.signatures,
        "tests": results.pairwise.tests,
        "intervals": first.intervals,
        "training_limit": {side: first.bins_by(side).limit for side in SIDES},
        "s2s_version": first.s2s_version,
        **tables(results),
    }


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows with a header as CSV (RFC 4180); unknown values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def length_rows(results: Results) -> list[Row]:
    return [
        {
            "system": system.name,
            "family": system.family,
            "seed": seed,
            "length_of": side,
            "unit": evaluation.bins_by(side).unit,
            "min": row.min,
            "max": row.max,
            "sentences": row.sentences,
            "metric": metric,
            **asdict(row.estimate(metric)),
        }
        for system in results.systems
        for seed, evaluation in _by_seed(results, system)
        for side in SIDES
        for row in evaluation.bins_by(side).bins
        for metric in METRICS
    ]


def system_rows(results: Results) -> list[Row]:
    rows = []
    for system in results.systems:
        for seed, evaluation in _by_seed(results, system):
            row: Row = {"system": system.name, "family": system.family, "seed": seed}
            row["source_mixer"], row["target_mixer"] = system.mixes
            scores = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
            row |= {name: getattr(evaluation, name) for name in scores}
            row |= {"parameters": system.parameters, "non_embedding_parameters": system.non_embedding_parameters}
            training = next((one for one in system.trainings if one.seed == seed), None)
            for name in ("train_seconds", "tokens_per_s", "tokens_seen", "decode_seconds"):
                row[name] = getattr(training, name) if training else system.mean(name)
            row["memory_mib"] = training.memory if training else system.memory
            row["threads"] = training.threads if training else None
            rows.append(row)
    return rows


def pair_rows(results: Results) -> list[Row]:
    return [
        {"system": system, "baseline": baseline, "metric": metric, **asdict(difference)}
        for (system, baseline), metrics in results.pairwise.differences.items()
        for metric, difference in metrics.items()
    ]


def pair_by_length_rows(results: Results) -> list[Row]:
    """Returns BLEU of the pairs in the headline and in the table of pairs."""
    return [
        {
            "system": comparison.pair.a,
            "baseline": comparison.pair.b,
            "min": row.min,
            "max": row.max,
            "sentences": row.sentences,
            "system_bleu": row.a,
            "baseline_bleu": row.b,
            "difference": row.difference,
            "low": row.low,
            "high": row.high,
        }
        for comparison in results.comparisons
        for row in comparison.by_length
    ]


def curve_rows(results: Results) -> list[Row]:
    return [
        {"system": system.name, "seed": training.seed, "update": step, "seconds": seconds, "valid_bleu": bleu}
        for system in results.systems
        for training in system.trainings
        for step, seconds, bleu in training.curve
    ]


def sentence_rows(results: Results) -> list[Row]:
    """Returns every test sentence with the outputs and scores of the first seed."""
    test, lengths, scores = results.test, results.test.lengths(), sentence_scores(results)
    rows = []
    for i, (source, reference) in enumerate(zip(test.sources, test.references, strict=True)):
        row: Row = {
            "sentence": i + 1,
            "source_length": lengths[i],
            "reference_length": length_in_words(reference, test.target_language),
            "source": source,
            "reference": reference,
        }
        for system in results.systems:
            row |= {system.name: system.trainings[0].hypotheses[i], f"{system.name} chrF++": scores[system.name][i]}
        rows.append(row)
    return rows


def _by_seed(results: Results, system: System) -> list[tuple[int | str, Evaluation]]:
    """The evaluation of each seed; several are preceded by their mean."""
    each: list[tuple[int | str, Evaluation]] = [(one.seed, one.evaluation) for one in system.trainings]
    return each if len(each) == 1 else [("mean", results.evaluations[system.name]), *each]

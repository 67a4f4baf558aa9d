"""What stands beside the page: the picture in all its views as PNG and SVG, and all numbers as CSV and JSON.

length.png, length-chrf.svg, length-ratio-by-reference.png …   the picture
length.csv      a line for each system, seed, side, bin and metric
systems.csv     a line for each system and seed: scores, parameters, training
pairs.csv       a line for each system, baseline and metric: differences on the whole test set
pairs_by_length.csv   a line for each pair that the page tells of, and bin of source length
curves.csv      validation BLEU during training
report.json     all of these
sentences.csv, sentences.json   every test sentence with every output
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s2s.data.lengths import length_in_words
from s2s.evaluation.bleu import METRICS
from s2s.evaluation.by_length import SIDES, Evaluation
from s2s.evaluation.report.length import VIEWS, length_picture
from s2s.evaluation.report.results import Results
from s2s.evaluation.report.sentences import sentence_scores
from s2s.files import atomic_write, write_json

Row = dict[str, Any]


def write_files(folder: Path, results: Results) -> None:
    """Writes all of them.

    Raises:
        S2SError: one cannot be written.
    """
    for view in VIEWS:
        length_picture(results.series, *(folder / f"{view.stem}.{kind}" for kind in ("png", "svg")), view=view)
    for name, rows in tables(results).items():
        _write(folder / f"{name}.csv", as_csv(rows))
    write_json(folder / "report.json", as_json(results))
    rows = sentence_rows(results)
    _write(folder / "sentences.csv", as_csv(rows))
    _write(folder / "sentences.json", json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def tables(results: Results) -> dict[str, list[Row]]:
    """The tables by name, sentences left out."""
    return {
        "length": length_rows(results),
        "systems": system_rows(results),
        "pairs": pair_rows(results),
        "pairs_by_length": pair_by_length_rows(results),
        "curves": curve_rows(results),
    }


def as_json(results: Results) -> dict[str, Any]:
    """The contents of `report.json`."""
    first = results.first
    about = {
        "test_set": first.test_set,
        "source_language": first.source_language,
        "target_language": first.target_language,
        "sentences": first.sentences,
        "seeds": results.seeds,
        "signatures": first.signatures,
        "tests": results.pairs.tests,
        "intervals": first.intervals,
        "training_limit": {side: first.along(side).limit for side in SIDES},
        "s2s_version": first.s2s_version,
    }
    return about | tables(results)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with a header, as RFC 4180 has it; empty: not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def length_rows(results: Results) -> list[Row]:
    rows = []
    for one in results.systems:
        for seed, evaluation in _by_seed(results, one.name):
            for side in SIDES:
                along = evaluation.along(side)
                for found in along.bins:
                    for metric in METRICS:
                        value = found.of(metric)
                        rows.append(
                            {
                                "system": one.name,
                                "family": one.family,
                                "seed": seed,
                                "length_of": side,
                                "unit": along.unit,
                                "min": found.min,
                                "max": found.max,
                                "sentences": found.sentences,
                                "metric": metric,
                                "value": value.value,
                                "low": value.low,
                                "high": value.high,
                            }
                        )
    return rows


def system_rows(results: Results) -> list[Row]:
    rows = []
    for one in results.systems:
        for seed, evaluation in _by_seed(results, one.name):
            row: Row = {"system": one.name, "family": one.family, "seed": seed}
            for metric in METRICS:
                found = evaluation.of(metric)
                row |= {metric: found.value, f"{metric}_low": found.low, f"{metric}_high": found.high}
            row |= {"parameters": one.parameters, "non_embedding_parameters": one.non_embedding_parameters}
            measured = ("train_seconds", "tokens_per_s", "tokens_seen", "decode_seconds")
            training = next((t for t in one.trainings if t.seed == seed), None)
            row |= {name: getattr(training, name) if training else one.mean(name) for name in measured}
            row["memory_mib"] = training.memory if training else one.memory
            row["threads"] = training.threads if training else None
            rows.append(row)
    return rows


def pair_rows(results: Results) -> list[Row]:
    return [
        {
            "system": system,
            "baseline": baseline,
            "metric": metric,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p_value": found.p_value,
        }
        for (system, baseline), metrics in results.pairs.found.items()
        for metric, found in metrics.items()
    ]


def pair_by_length_rows(results: Results) -> list[Row]:
    """BLEU of what the headline and the table of pairs compare."""
    return [
        {
            "system": one.pair.a,
            "baseline": one.pair.b,
            "min": found.min,
            "max": found.max,
            "sentences": found.sentences,
            "system_bleu": found.a,
            "baseline_bleu": found.b,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
        }
        for one in results.comparisons
        for found in one.paired.by_length
    ]


def curve_rows(results: Results) -> list[Row]:
    return [
        {"system": one.name, "seed": training.seed, "update": step, "seconds": seconds, "valid_bleu": bleu}
        for one in results.systems
        for training in one.trainings
        for step, seconds, bleu in training.curve
    ]


def sentence_rows(results: Results) -> list[Row]:
    """Every test sentence; outputs and scores are of the first seed."""
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
        for one in results.systems:
            row |= {one.name: one.trainings[0].hypotheses[i], f"{one.name} chrF++": scores[one.name][i]}
        rows.append(row)
    return rows


def _by_seed(results: Results, name: str) -> list[tuple[int | str, Evaluation]]:
    """The only training by its seed; of several, their mean first."""
    system = next(one for one in results.systems if one.name == name)
    each: list[tuple[int | str, Evaluation]] = [(one.seed, one.evaluation) for one in system.trainings]
    return each if len(each) == 1 else [("mean", results.evaluations[name]), *each]


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "wb") as file:
        file.write(text.encode("utf-8", "replace"))

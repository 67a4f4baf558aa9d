from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from s2s.evaluation.report.files import (
    as_csv,
    length_rows,
    pair_by_length_rows,
    sentence_rows,
    system_rows,
    write_files,
)
from s2s.evaluation.report.results import Results, gather
from s2s.evaluation.test_set import TestSet

TABLES = ("length", "systems", "pairs", "pairs_by_length", "curves")
EVIL = 'a "quoted", line\u2028 and \ud800'


@pytest.fixture(scope="module")
def results(make_system, test_set: TestSet) -> Results:
    systems = [
        make_system("lstm", "fixed", 0.05, seeds=(3, 5)),
        make_system("gru_attention", "attention", 0.0, seeds=(3, 5), hypotheses=[EVIL, *test_set.references[1:]]),
    ]
    return gather(systems, test_set, trials=20)


def test_all_files_are_written(results: Results, tmp_path: Path) -> None:
    write_files(tmp_path, results)
    pictures = {
        f"length{metric}{side}.{kind}"
        for metric in ("", "-chrf", "-ratio")
        for side in ("", "-by-reference")
        for kind in ("png", "svg")
    }
    tables = {f"{name}.csv" for name in TABLES} | {"report.json", "sentences.csv", "sentences.json"}
    assert {path.name for path in tmp_path.iterdir()} == pictures | tables
    assert "chrF++ by reference length" in (tmp_path / "length-chrf-by-reference.svg").read_text(encoding="utf-8")
    assert (tmp_path / "length-ratio.png").read_bytes().startswith(b"\x89PNG")
    whole = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert whole["seeds"] == [3, 5]
    for name in TABLES:
        text = (tmp_path / f"{name}.csv").read_bytes().decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [list(row) for row in rows] == [list(row) for row in whole[name]]
        for row, other in zip(rows, whole[name], strict=True):
            assert list(row.values()) == ["" if value is None else str(value) for value in other.values()]
    sentences = json.loads((tmp_path / "sentences.json").read_text(encoding="utf-8"))
    assert sentences[0]["gru_attention"] == EVIL.replace("\ud800", "?")
    assert len(sentences) == 90


def test_csv_keeps_any_text(results: Results) -> None:
    rows = sentence_rows(results)
    read = list(csv.DictReader(io.StringIO(as_csv(rows), newline="")))
    assert [row["gru_attention"] for row in read] == [row["gru_attention"] for row in rows]
    assert read[0]["source_length"] == str(len(results.test.sources[0].split()))


def test_the_pairs_of_the_page_are_compared_in_every_bin(results: Results) -> None:
    rows = pair_by_length_rows(results)
    assert {(row["system"], row["baseline"]) for row in rows} == {("gru_attention", "lstm")}
    bins = results.evaluations["lstm"].by_length
    for row, one, other in zip(rows, results.evaluations["gru_attention"].by_length, bins, strict=True):
        assert (row["min"], row["max"], row["sentences"]) == (other.min, other.max, other.sentences)
        assert (row["system_bleu"], row["baseline_bleu"]) == pytest.approx((one.bleu, other.bleu))
        if one.sentences:
            assert row["difference"] == pytest.approx(one.bleu - other.bleu)
            assert row["low"] <= row["difference"] <= row["high"]
        else:
            assert row["difference"] is None


def test_means_precede_their_seeds(results: Results) -> None:
    rows = system_rows(results)
    assert [(row["system"], row["seed"]) for row in rows[:3]] == [("lstm", "mean"), ("lstm", 3), ("lstm", 5)]
    mean, first, second = rows[:3]
    assert mean["bleu"] == pytest.approx((first["bleu"] + second["bleu"]) / 2)
    assert mean["bleu_low"] < mean["bleu"] < mean["bleu_high"]
    assert (mean["train_seconds"], mean["memory_mib"]) == (252.5, 513)
    keys, key = ("system", "metric", "length_of", "seed"), ("lstm", "length_ratio", "reference")
    by_seed = (
        [row["value"] for row in length_rows(results) if tuple(row[name] for name in keys) == (*key, seed)]
        for seed in ("mean", 3, 5)
    )
    for mean, *each in zip(*by_seed, strict=True):
        assert (mean is None) == (None in each)
        assert mean is None or mean == pytest.approx(sum(each) / 2)

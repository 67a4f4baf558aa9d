from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s2s.errors import S2SError
from s2s.evaluation.scaling import Scaling, as_rows, exponents, read_scaling


@pytest.fixture
def values(scaling: Scaling) -> dict[str, Any]:
    return {"rows": as_rows(scaling), "config": scaling.config, "machine": scaling.machine}


def test_exponents(scaling: Scaling) -> None:
    assert exponents(list(scaling.of("train", 1, "rnn").values())) == [None, pytest.approx(1), pytest.approx(1)]
    assert exponents(list(scaling.of("train", 1, "transformer").values())) == [None, pytest.approx(2), pytest.approx(2)]
    assert exponents(list(scaling.of("train", 8, "transformer").values())) == [None, pytest.approx(2), None]


def test_only_lengths_that_all_have_count_as_measured(scaling: Scaling) -> None:
    assert scaling.measured("train", 1) == [10, 20, 40]
    assert scaling.measured("train", 8) == [10, 20]


def test_a_file_is_read_as_it_was_written(scaling: Scaling, values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "scaling.json"
    path.write_text(json.dumps(values))
    assert read_scaling(path) == scaling


def no_rows(values: dict[str, Any]) -> None:
    del values["rows"]


def other_task(values: dict[str, Any]) -> None:
    values["config"]["task"] = "cells"


def no_seconds(values: dict[str, Any]) -> None:
    del values["rows"][3]["seconds"]


def negative(values: dict[str, Any]) -> None:
    values["rows"][0]["seconds"] = -1.0


def no_row(values: dict[str, Any]) -> None:
    values["rows"] = [7]


def nothing(values: dict[str, Any]) -> None:
    values["rows"] = []


def twice(values: dict[str, Any]) -> None:
    values["rows"].append(values["rows"][0])


def no_processor(values: dict[str, Any]) -> None:
    del values["machine"]["processor"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_rows, "it has no rows, config and machine"),
        (other_task, "its task is cells"),
        (no_seconds, "missing key rows[3].seconds"),
        (negative, "rows[0].seconds=-1.0 must be more than 0"),
        (no_row, "missing key rows[0].model"),
        (nothing, "no row has a time"),
        (twice, "rows are repeated"),
        (no_processor, "machine.processor is missing"),
    ],
)
def test_another_file_is_refused(values: dict[str, Any], tmp_path: Path, change: Any, words: str) -> None:
    values = json.loads(json.dumps(values))
    change(values)
    path = tmp_path / "other.json"
    path.write_text(json.dumps(values))
    with pytest.raises(S2SError) as caught:
        read_scaling(path)
    assert f"{path} is not what `python scripts/benchmark.py task=scaling output=…` writes: {words}" == str(
        caught.value
    )

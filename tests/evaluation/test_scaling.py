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
    one, two = pytest.approx(1), pytest.approx(2)
    assert exponents(scaling.of("train", 1, "rnn")) == {10: None, 20: one, 40: one}
    assert exponents(scaling.of("train", 1, "transformer")) == {10: None, 20: two, 40: two}
    assert exponents(scaling.of("train", 8, "transformer")) == {10: None, 20: two, 40: None}


def test_common_lengths_are_those_of_all_models(scaling: Scaling) -> None:
    assert scaling.common_lengths("train", 1) == [10, 20, 40]
    assert scaling.common_lengths("train", 8) == [10, 20]


def test_a_file_is_read_as_it_was_written(scaling: Scaling, values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "scaling.json"
    path.write_text(json.dumps(values))
    assert read_scaling(path) == scaling


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["rows"], None, "it has no rows, config and machine"),
        (["config", "task"], "cells", "its task is cells"),
        (["rows", 3, "seconds"], None, "missing key rows[3].seconds"),
        (["rows", 0, "seconds"], -1.0, "rows[0].seconds=-1.0 must be more than 0"),
        (["rows"], [7], "missing key rows[0].model"),
        (["rows"], [], "no row has a time"),
        (["rows", 1], "the first row", "rows are repeated"),
        (["machine", "processor"], None, "machine.processor is missing"),
    ],
)
def test_other_contents_are_an_error(
    values: dict[str, Any], tmp_path: Path, keys: list[Any], value: Any, message: str
) -> None:
    """A value of None stands for a missing key."""
    values = json.loads(json.dumps(values))
    *parents, last = keys
    parent: Any = values
    for key in parents:
        parent = parent[key]
    parent[last] = values["rows"][0] if value == "the first row" else value
    if value is None:
        del parent[last]
    path = tmp_path / "other.json"
    path.write_text(json.dumps(values))
    with pytest.raises(S2SError) as error:
        read_scaling(path)
    assert (
        str(error.value) == f"{path} is not what `python scripts/benchmark.py task=scaling output=…` writes: {message}"
    )
